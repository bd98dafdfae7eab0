"""Dropout in one pass, with what its result is added to; what was left out is found again on the way back, not kept."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import draw_seed, get_passes, uses_passes

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """Leaves numbers out by chance, and lets the others grow by `1 / (1 - p)` (Srivastava et al. 2014).

    Example:
        >>> import torch
        >>> dropout = Dropout(0.5)
        >>> set(dropout(torch.ones(1000)).tolist()) == {0.0, 2.0}, dropout.eval()(torch.ones(2)).tolist()
        (True, [1.0, 1.0])
    """

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "*places"], more: Float[Tensor, "*places"] | None = None
    ) -> Float[Tensor, "*places"]:
        """What is left of `x`, added to `more` where there is something.

        The numbers left out are drawn from torch's global generator.
        """
        if self.training and 0.0 < self.p < 1.0 and uses_passes(x) and (more is None or more.dtype == x.dtype):
            return _Dropout.apply(x, more, self.p)
        left = super().forward(x)
        return left if more is None else more + left


class _Dropout(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, more: Tensor | None, chance: float) -> Tensor:  # type: ignore[override]
        ctx.lot = {"seed": draw_seed(), "chance": chance}  # type: ignore[attr-defined]
        return get_passes().dropout(x.contiguous(), None if more is None else more.contiguous(), **ctx.lot)  # type: ignore[attr-defined]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        left = get_passes().dropout(grad.contiguous(), None, **ctx.lot) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        return left, grad if ctx.needs_input_grad[1] else None, None  # type: ignore[attr-defined]
