"""G1: what comes later changes nothing; what is masked does not shine through."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.shapes import CAUSAL, DECODERS, ENCODERS, PAIRS, VOCAB, build, tokens
from trifold.batch import IGNORED, Batch, Layout
from trifold.example import Piece, TrainingExample
from trifold.model import Transformer
from trifold.objective import Masked, config
from trifold.text import train_tokenizer

LENGTH = 12


def _logits(model: Transformer, ids: Tensor, source: Tensor | None, layout: Layout | None = None) -> Tensor:
    memory = model.encode(source) if source is not None else None
    return model.head(model.decode(ids, layout, memory=memory))


def _influence(model: Transformer, ids: Tensor, place: int, layout: Layout | None = None) -> Tensor:
    """How much each token's vector moves the logits at `place`, by the gradient."""
    seen: list[Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: object, out: Tensor) -> Tensor:
        seen.append(out.detach().requires_grad_())
        return seen[-1]

    handle = model.embedding.register_forward_hook(keep)
    run = model.encode if model.config.decoder is None else model.decode
    logits = model.head(run(ids, layout))
    handle.remove()
    weights = torch.randn(VOCAB, generator=torch.Generator().manual_seed(1), dtype=logits.dtype)
    (logits[0, place] @ weights).backward()
    return seen[0].grad[0].abs().sum(-1)  # type: ignore[index]


@pytest.mark.parametrize("name", CAUSAL)
def test_g1_past_logits_are_bit_equal_when_the_future_changes(name: str) -> None:
    model, ids = build(name), tokens(2, LENGTH)
    source = tokens(2, 7, seed=1) if name in PAIRS else None
    before = _logits(model, ids, source)
    for cut in range(1, LENGTH):
        changed = ids.clone()
        changed[:, cut:] = (ids[:, cut:] + 1 + tokens(2, LENGTH - cut, seed=cut)) % VOCAB
        after = _logits(model, changed, source)
        assert torch.equal(before[:, :cut], after[:, :cut])
    assert not torch.equal(before[:, cut:], after[:, cut:])


@pytest.mark.parametrize("name", DECODERS)
def test_g1_no_future_token_has_a_gradient(name: str) -> None:
    model, ids = build(name), tokens(1, LENGTH)
    for place in (0, 4, LENGTH - 1):
        influence = _influence(model, ids, place)
        assert torch.all(influence[place + 1 :] == 0)
        assert torch.all(influence[max(0, place - 3) : place + 1] > 0)


@pytest.mark.parametrize("name", ["decoder_pre_learned", "decoder_rotary_whole"])
def test_g1_a_prefix_sees_itself_whole_and_nothing_beyond(name: str) -> None:
    model, ids = build(name), tokens(1, LENGTH)
    prefix = 5
    layout = Layout(torch.arange(LENGTH)[None], prefix=torch.full((1, LENGTH), prefix))
    assert torch.equal(_influence(model, ids, 1, layout) > 0, torch.arange(LENGTH) < prefix)
    assert torch.equal(_influence(model, ids, 7, layout) > 0, torch.arange(LENGTH) <= 7)


@pytest.mark.parametrize("name", ENCODERS)
def test_g1_an_encoder_sees_both_sides_within_its_document(name: str) -> None:
    model, ids = build(name), tokens(1, LENGTH)
    documents = torch.tensor([[1] * 5 + [2] * 5 + [0] * 2])
    positions = torch.tensor([[*range(5), *range(5), 0, 0]])
    influence = _influence(model, ids, 7, Layout(positions, documents))
    assert torch.equal(influence > 0, documents[0] == 2)
    assert torch.all(_influence(model, ids, 7) > 0) or name == "encoder_rotary_local_global"


@pytest.mark.parametrize(("name", "reach"), [("decoder_rotary_window", (10, 0)), ("encoder_rotary_local_global", None)])
def test_g1_a_window_reaches_exactly_as_far_as_it_says(name: str, reach: tuple[int, int] | None) -> None:
    model, ids, place = build(name), tokens(1, 30), 15
    if reach is None:  # keep the two local blocks alone: two windows of 3, to both sides
        reach = (6, 6)
        model.encoder.blocks, model.encoder.position_of = model.encoder.blocks[1:], model.encoder.position_of[1:]  # type: ignore[union-attr]
    influence = _influence(model, ids, place)
    places = torch.arange(30)
    assert torch.equal(influence > 0, (places >= place - reach[0]) & (places <= place + reach[1]))


@pytest.mark.parametrize("name", ENCODERS)
def test_g1_a_masked_token_does_not_leak(name: str) -> None:
    tokenizer = train_tokenizer(["abcdefghijklmnopqrst "], kind="character", vocab_size=VOCAB, num_sentinels=3)
    model, ids = build(name), tokenizer.encode("the cat is on a mat and not in a hat").ids
    masked = Masked(config.Masked(rate=0.3, mask_share=1.0, random_share=0.0), tokenizer, model.config)

    def prepare(ids: np.ndarray) -> TrainingExample:
        (example,) = masked.prepare(Piece(ids), np.random.default_rng(3))
        return example

    def logits(example: TrainingExample) -> Tensor:
        source = torch.from_numpy(example.source)[None]
        return model.head(model(Batch(source, source_layout=Layout.whole(*source.shape))))

    example = prepare(ids)
    hidden = np.flatnonzero(example.labels != IGNORED)
    other = ids.copy()
    other[hidden - 1] = 8 + (other[hidden - 1] + 1) % 21  # other letters at the hidden places
    changed = prepare(other)
    assert np.array_equal(np.flatnonzero(changed.labels != IGNORED), hidden)
    assert not np.any(changed.labels[hidden] == example.labels[hidden])
    assert torch.equal(logits(example), logits(changed))
