"""Every family computes what transformers computes: logits, hidden states and gradients, on padded, unequal rows."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.parity.families import FAMILIES, PADDED_BY_1, SEGMENTED, VOCAB, exact, in_dtype, make_oracle
from trifold.batch import Batch, Layout
from trifold.presets.pretrained import Transformer

LENGTHS, OTHER_LENGTHS, WIDTH, OTHER_WIDTH = (11, 4, 7), (9, 3, 6), 12, 10
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def make_batch(name: str, *, left: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(1)
    pad = int(name in PADDED_BY_1)
    sides = []
    for lengths, width in ((LENGTHS, WIDTH), (OTHER_LENGTHS, OTHER_WIDTH)):
        layout = Layout.padded(torch.tensor(lengths), left=left, width=width)
        tokens = torch.randint(3, VOCAB, (len(lengths), width), generator=generator)
        sides.append((tokens.masked_fill(layout.documents == 0, pad), layout))
    (one, layout), (two, other) = sides
    match FAMILIES[name].kind:
        case "encoder":
            segments = (layout.positions >= 3).long() if name in SEGMENTED else None
            return Batch(source=one, source_layout=Layout(layout.positions, layout.documents, segments=segments))
        case "decoder":
            return Batch(target=one, target_layout=layout)
        case _:
            return Batch(source=one, source_layout=layout, target=two, target_layout=other)


def run_oracle(name: str, oracle: nn.Module, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    if FAMILIES[name].kind == "pair":
        out = oracle(
            input_ids=batch.source, attention_mask=batch.source_layout.documents, decoder_input_ids=batch.target,
            decoder_attention_mask=batch.target_layout.documents, output_hidden_states=True, use_cache=False,
        )  # fmt: skip
        return out.logits, [*out.encoder_hidden_states[1:-1], *out.decoder_hidden_states[1:-1]]
    tokens = batch.target if batch.source is None else batch.source
    layout = batch.target_layout or batch.source_layout
    more = {"token_type_ids": layout.segments} if layout.segments is not None else {}
    if name == "gpt2" or FAMILIES[name].left_padding:
        more["position_ids"] = layout.positions
    if FAMILIES[name].kind == "decoder":
        more["use_cache"] = False
    out = oracle(input_ids=tokens, attention_mask=layout.documents, output_hidden_states=True, **more)
    return out.logits, list(out.hidden_states[1:-1])


def run_ours(model: Transformer, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    states: list[list[Tensor]] = []
    hooks = []
    for stack in (model.encoder, model.decoder):
        if stack is not None:
            states.append(found := [])
            keep = lambda *args, found=found: found.append(args[2])
            hooks += [block.register_forward_hook(keep) for block in stack.blocks.children()]  # a shared one once
    logits = model.head(model(batch))
    for hook in hooks:
        hook.remove()
    return logits, [one for found in states for one in found[:-1]]


def seen(layout: Layout, value: Tensor) -> Tensor:
    return value[layout.documents > 0]


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float, where: str) -> None:
    scale = max(1.0, theirs.abs().max().item())
    worst = (ours - theirs).abs().max().item()
    assert worst <= tolerance * scale, f"{where}: {worst:.3g} at scale {scale:.3g}"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "left"),
    [(name, False) for name in FAMILIES] + [(name, True) for name, one in FAMILIES.items() if one.left_padding],
)
def test_g7_logits_hidden_states_and_gradients_are_those_of_transformers(
    tmp_path: Path, name: str, left: bool, dtype: torch.dtype
) -> None:
    oracle = make_oracle(name)
    oracle.save_pretrained(tmp_path)
    model = Transformer.from_pretrained(tmp_path, dtype=dtype)
    with exact(dtype):
        oracle = in_dtype(name, oracle, dtype)
        batch = make_batch(name, left=left)
        theirs, their_states = run_oracle(name, oracle, batch)
        ours, our_states = run_ours(model, batch)
        main = batch.target_layout or batch.source_layout
        weights = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(2), dtype=dtype)
        for logits in (theirs, ours):
            (seen(main, logits) * seen(main, weights)).sum().backward()

    tolerance = TOLERANCE[dtype]
    assert_close(seen(main, ours), seen(main, theirs), tolerance, "logits")
    assert len(our_states) == len(their_states)
    for number, (one, other) in enumerate(zip(our_states, their_states, strict=True)):
        layout = batch.source_layout if one.shape[1] == WIDTH and batch.source is not None else main
        assert_close(seen(layout, one), seen(layout, other), tolerance, f"hidden state {number}")
    ours_by_name = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    missing = {key: torch.zeros_like(value) for key, value in model.named_parameters() if value.grad is None}
    translated = model.preset.keys(model.options).to_theirs({**missing, **ours_by_name})
    checked = 0
    for key, value in oracle.named_parameters():
        if value.grad is not None and key in translated:
            assert_close(translated[key], value.grad, 10 * tolerance, f"gradient of {key}")
            checked += 1
    assert checked >= len(translated) - 2  # Marian's bias of the logits is a buffer there
