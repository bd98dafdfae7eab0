"""Hidden states and attention weights are those that transformers gives, layer by layer and head by head."""

import threading

import pytest
import torch
from torch import Tensor

from tests.parity.families import FAMILIES, exact, in_dtype, make_oracle
from tests.parity.test_presets import make_batch
from trifold.batch import Batch, Layout
from trifold.presets.pretrained import Transformer

TOLERANCE = 1e-9


def asked(name: str, oracle, batch: Batch):
    """What transformers says, with everything that it can give."""
    wanted = {"output_hidden_states": True, "output_attentions": True}
    if FAMILIES[name].kind == "pair":
        return oracle(input_ids=batch.source, attention_mask=batch.source_layout.documents, decoder_input_ids=batch.target,
                      decoder_attention_mask=batch.target_layout.documents, use_cache=False, **wanted)  # fmt: skip
    tokens = batch.target if batch.source is None else batch.source
    layout = batch.target_layout or batch.source_layout
    more = {"token_type_ids": layout.segments} if layout.segments is not None else {}
    if FAMILIES[name].left_padding:
        more["position_ids"] = layout.positions
    return oracle(input_ids=tokens, attention_mask=layout.documents, **more, **wanted)


def assert_same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], layout: Layout, where: str) -> None:
    """At every token that is no padding."""
    assert len(ours) == len(theirs), where
    for layer, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if one.ndim == 4:  # B H Q K
            one, other = one.transpose(1, 2), other.transpose(1, 2)
        one, other = one[layout.documents > 0], other[layout.documents > 0]
        scale = max(1.0, other.abs().max().item())
        worst = (one - other).abs().max().item() / scale
        assert worst <= TOLERANCE, f"{where}, layer {layer}: {worst:.3g}"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_layer_and_head_is_that_of_transformers(name, tmp_path):
    oracle = make_oracle(name)
    oracle.save_pretrained(tmp_path)
    model, batch = Transformer.from_pretrained(tmp_path, dtype=torch.float64), make_batch(name)
    with torch.no_grad(), exact(torch.float64):
        theirs = asked(name, in_dtype(name, oracle, torch.float64), batch)
        states, weights = model.hidden_states(batch), model.attention_weights(batch)
        torch.testing.assert_close((states.decoder or states.encoder)[-1], model(batch))
    if FAMILIES[name].kind == "pair":
        source, target = batch.source_layout, batch.target_layout
        assert_same(states.encoder, theirs.encoder_hidden_states, source, "encoder states")
        assert_same(states.decoder, theirs.decoder_hidden_states, target, "decoder states")
        assert_same(weights.encoder, theirs.encoder_attentions, source, "encoder weights")
        assert_same(weights.decoder, theirs.decoder_attentions, target, "decoder weights")
        assert_same(weights.cross, theirs.cross_attentions, target, "cross weights")
        return
    kind, layout = FAMILIES[name].kind, batch.target_layout or batch.source_layout
    assert_same(getattr(states, kind), theirs.hidden_states, layout, "states")
    assert_same(getattr(weights, kind), theirs.attentions, layout, "weights")
    assert weights.cross == ()


def test_packed_documents_do_not_look_at_each_other_and_what_is_seen_adds_up_to_one():
    model = Transformer.from_preset("llama", size="tiny", vocab_size=40, num_layers=2, d_model=32, num_heads=4).eval()
    documents = torch.tensor([[1, 1, 1, 2, 2, 0]])
    layout = Layout(torch.tensor([[0, 1, 2, 0, 1, 0]]), documents)
    found = model.attention_weights(Batch(target=torch.tensor([[5, 6, 7, 8, 9, 0]]), target_layout=layout)).decoder
    for weights in found:
        torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 6))
        other = documents[:, None, :, None] != documents[:, None, None, :]
        assert not weights[other.expand_as(weights)].any()
        assert not weights.triu(1).any()
    alone = model.attention_weights(Batch(target=torch.tensor([[8, 9]]), target_layout=Layout.whole(1, 2))).decoder
    torch.testing.assert_close(found[1][:, :, 3:5, 3:5], alone[1])


def test_asking_leaves_no_trace_and_hears_its_own_thread_alone():
    model = Transformer.from_preset("t5", size="tiny", vocab_size=40, num_layers=2, d_model=32, num_heads=2).eval()
    ids, layout = torch.tensor([[5, 6, 7]]), Layout.whole(1, 3)
    batch = Batch(source=ids, source_layout=layout, target=ids, target_layout=layout)
    before, stop = model(batch), threading.Event()

    def work() -> None:
        while not stop.is_set():
            model(batch)

    other = threading.Thread(target=work)
    other.start()
    try:
        for _ in range(5):
            states, weights = model.hidden_states(batch), model.attention_weights(batch)
            assert [len(one) for one in (states.encoder, states.decoder)] == [3, 3]
            assert [len(one) for one in (weights.encoder, weights.decoder, weights.cross)] == [2, 2, 2]
    finally:
        stop.set()
        other.join()
    assert torch.equal(model(batch), before)
    assert not any(module._forward_hooks for module in model.modules())
    model.attention_weights(batch).cross[0].sum().backward()
    assert model.decoder.blocks[0].cross_attention.branch.q_proj.weight.grad is not None
