"""G2: padding changes nothing, and a row that sees nothing stays finite."""

import pytest
import torch

from tests.shapes import CAUSAL, PAIRS, SHAPES, build, tokens
from trifold.batch import Batch, Layout

LENGTHS = [1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80, 95, 96, 97]
CLOSE = {"rtol": 0.0, "atol": 1e-12}


def _batch(name: str, source: torch.Tensor, target: torch.Tensor, *layouts: Layout) -> Batch:
    """The two sides that a model of this shape reads."""
    if name in PAIRS:
        return Batch(source, target, *layouts)
    return Batch(target=target, target_layout=layouts[1]) if name in CAUSAL else Batch(source, None, layouts[0])


def _pad(ids: torch.Tensor, width: int, *, left: bool) -> tuple[torch.Tensor, Layout]:
    empty = tokens(len(ids), width - ids.shape[1], seed=9)  # padding holds arbitrary ids
    lengths = torch.full((len(ids),), ids.shape[1])
    return torch.cat([empty, ids] if left else [ids, empty], 1), Layout.padded(lengths, left=left, width=width)


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("name", SHAPES)
def test_g2_padding_to_any_length_changes_nothing(name: str, left: bool) -> None:
    model = build(name)
    for width in LENGTHS:
        for length in sorted({1, width // 2, width - 1, width} - {0}):
            source, target = tokens(2, length, seed=width), tokens(2, length, seed=width + 1)
            whole = Layout.whole(*target.shape)
            alone = model(_batch(name, source, target, whole, whole))
            (wide_source, source_layout), (wide_target, layout) = (_pad(x, width, left=left) for x in (source, target))
            padded = model(_batch(name, wide_source, wide_target, source_layout, layout))
            assert padded.isfinite().all()
            inside = padded[:, width - length :] if left else padded[:, :length]
            torch.testing.assert_close(inside, alone, **CLOSE)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("padded", ["target", "source"])
def test_g2_rows_that_see_nothing_are_finite_in_both_directions(name: str, padded: str) -> None:
    model, source, target = build(name), tokens(2, 6), tokens(2, 5, seed=1)
    some, whole = torch.tensor([2, 4]), torch.tensor([6, 6])
    source_layout = Layout.padded(some if padded == "source" else whole, width=6)
    target_layout = Layout.padded(some, width=5) if padded == "target" else Layout.whole(2, 5)
    if padded == "target":
        source_layout = Layout.whole(2, 6)  # padding of the target then sees no key at all
    hidden = model(Batch(source, target, source_layout, target_layout))
    hidden.sum().backward()
    assert hidden.isfinite().all()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", SHAPES)
def test_g2_a_row_of_padding_only_is_finite_and_leaves_the_others_alone(name: str) -> None:
    model, source, target = build(name), tokens(2, 6), tokens(2, 6, seed=1)
    layout = Layout.padded(torch.tensor([0, 6]), width=6)
    both = model(_batch(name, source, target, layout, layout))
    whole = Layout.whole(1, 6)
    alone = model(_batch(name, source[1:], target[1:], whole, whole))
    assert both.isfinite().all()
    torch.testing.assert_close(both[1:], alone, **CLOSE)
    both.square().sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
