"""Muon: momentum, made orthogonal, for matrices (Jordan 2024; Liu et al. 2025).

torch has a Muon too. This one differs in two ways that matter on a laptop: it computes in bfloat16 only where the
processor multiplies it in hardware (elsewhere that is a hundred times slower than float32), and it takes all matrices of
one shape through the iteration together.

Axes: N matrices of one shape, R rows, C columns.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["MatrixMomentum", "orthogonalize"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic whose iteration drives singular values towards 1 (Jordan 2024)."""
ITERATIONS = 5
TOGETHER = 2**24
"""Numbers in one stack of matrices, at most: bounds the memory of a step."""


def orthogonalize(matrices: Float[Tensor, "n rows cols"], dtype: torch.dtype) -> Float[Tensor, "n rows cols"]:
    """The nearest (semi-)orthogonal matrices, roughly: five Newton-Schulz iterations in `dtype`.

    Example:
        >>> turned = orthogonalize(torch.tensor([[[3.0, 0.0], [0.0, 0.5]]]), torch.float32)
        >>> bool(((turned.diagonal(dim1=1, dim2=2) > 0.6) & (turned.diagonal(dim1=1, dim2=2) < 1.3)).all())
        True
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.transpose(1, 2) if tall else matrices).to(dtype)  # N R C, R <= C
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    linear, cubic, quintic = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.transpose(1, 2)  # N R R
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=cubic, alpha=quintic), x, beta=linear)
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)


class MatrixMomentum(torch.optim.Optimizer):
    """Muon with Nesterov momentum; an update has the size that AdamW's would have, `0.2 sqrt(max(rows, columns))`.

    Args:
        matrices: what to move, two dimensions each; or groups of them, as torch.optim takes them.
        lr: learning rate.
        momentum: share of the old direction that is kept.
        weight_decay: decoupled, a step shrinks weights by `lr * weight_decay`.
        dtype: what the iteration computes in.

    Example:
        >>> weight = torch.nn.Parameter(torch.eye(4))
        >>> weight.grad = torch.ones(4, 4)
        >>> MatrixMomentum([weight], lr=0.1, momentum=0.9, weight_decay=0.0, dtype=torch.float32).step()
        >>> bool(weight.isfinite().all())
        True
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)  # wrapped, it loads torch's compiler: 0.5 s

    def __init__(
        self, matrices: Iterable[Any], *, lr: float, momentum: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        assert closure is None, "the trainer has computed the gradients"
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in alike.items():
                size = max(1, TOGETHER // shape.numel())
                for start in range(0, len(matrices), size):
                    self._move(matrices[start : start + size], group)

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        ahead = []
        for matrix in matrices:
            assert matrix.grad is not None
            kept = self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix))
            kept.lerp_(matrix.grad, 1 - group["momentum"])
            ahead.append(matrix.grad.lerp(kept, group["momentum"]))
        rate = group["lr"] * 0.2 * math.sqrt(max(matrices[0].shape))
        for matrix, turned in zip(matrices, self._turn(torch.stack(ahead)), strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(turned, alpha=rate)

    def _turn(self, stack: Tensor) -> Tensor:
        """The stack, made orthogonal; where processes hold only rows of it, all work on the whole and keep their rows."""
        if not hasattr(stack, "full_tensor"):
            return orthogonalize(stack, self.dtype)
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(stack, DTensor)
        whole = orthogonalize(stack.full_tensor(), self.dtype)
        return distribute_tensor(whole, stack.device_mesh, stack.placements, src_data_rank=None)
