"""Muon against torch's own and against what it is for."""

import pytest
import torch

from tests.bounds import assert_same_sums
from trifold.training.muon import MatrixMomentum, orthogonalize

SHAPES = [(8, 8), (8, 8), (6, 16), (16, 6), (8, 8)]


def matrices(seed: int) -> list[torch.nn.Parameter]:
    chance = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=chance)) for shape in SHAPES]


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_g8_equals_torchs_muon(weight_decay: float) -> None:
    """In bfloat16 both round alike but for the order of sums; so directions and sizes agree to its three digits."""
    ours, theirs = matrices(0), matrices(0)
    common = {"lr": 0.05, "momentum": 0.9, "weight_decay": weight_decay}
    one = MatrixMomentum(ours, **common, dtype=torch.bfloat16)
    other = torch.optim.Muon(theirs, **common, adjust_lr_fn="match_rms_adamw")
    for step in range(5):
        for parameter, twin, gradient in zip(ours, theirs, matrices(step + 1), strict=True):
            parameter.grad, twin.grad = gradient.detach().clone(), gradient.detach().clone()
        one.step()
        other.step()
    for parameter, twin, start in zip(ours, theirs, matrices(0), strict=True):
        moved = (twin - start).norm()
        assert moved > 0.1
        assert (parameter - twin).norm() < 0.03 * moved


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 20), (2, 20, 5), (1, 1, 7)])
def test_singular_values_come_near_one_whatever_they_were(shape: tuple[int, int, int]) -> None:
    given = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1e3
    values = torch.linalg.svdvals(orthogonalize(given, torch.float64))
    assert values.min() > 0.3 and values.max() < 1.3


def test_many_matrices_move_as_each_alone_and_those_without_gradient_stay() -> None:
    together, alone = matrices(0), matrices(0)
    for parameter, twin, gradient in zip(together, alone, matrices(5), strict=True):
        parameter.grad, twin.grad = gradient.detach().clone(), gradient.detach().clone()
    together[1].grad = None
    common = {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.0, "dtype": torch.float64}
    MatrixMomentum(together, **common).step()
    for twin in alone:
        MatrixMomentum([twin], **common).step()
    assert torch.equal(together[1], matrices(0)[1])
    for number in (0, 2, 3, 4):
        assert_same_sums(together[number], alone[number], terms=max(alone[number].shape))
