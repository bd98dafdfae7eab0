"""Dropout in one pass, with what its result is added to; what was left out is found again on the way back, not kept."""

from jaxtyping import BFloat16
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import draw_seed, get_passes

__all__ = ["dropout"]


def dropout(
    x: BFloat16[Tensor, "*places"], residual: BFloat16[Tensor, "*places"] | None, chance: float
) -> BFloat16[Tensor, "*places"]:
    """What is left of `x`, added to `residual` where there is one; drawn from torch's global generator."""
    return _Dropout.apply(x, residual, chance)


class _Dropout(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, residual: Tensor | None, chance: float) -> Tensor:  # type: ignore[override]
        ctx.lot = {"seed": draw_seed(), "chance": chance}  # type: ignore[attr-defined]
        return get_passes().dropout(x.contiguous(), None if residual is None else residual.contiguous(), **ctx.lot)  # type: ignore[attr-defined]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        left = get_passes().dropout(grad.contiguous(), None, **ctx.lot) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        return left, grad if ctx.needs_input_grad[1] else None, None  # type: ignore[attr-defined]
