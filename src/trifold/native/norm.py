"""Layer norm and RMS norm in one pass forward and one backward."""

from jaxtyping import BFloat16
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import get_passes

__all__ = ["norm"]


def norm(
    x: BFloat16[Tensor, "*places width"],
    weight: BFloat16[Tensor, " width"],
    bias: BFloat16[Tensor, " width"] | None,
    *,
    eps: float,
    centered: bool,
) -> BFloat16[Tensor, "*places width"]:
    """`x / sqrt(mean(x^2) + eps) * weight + bias` of each place; `centered` takes the mean from x first."""
    return _Norm.apply(x, weight, bias, (eps, centered))


class _Norm(Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, kind: tuple[float, bool]
    ) -> Tensor:
        x, (eps, centered) = x.contiguous(), kind
        output, moments = get_passes().norm(x, weight, bias, eps=eps, centered=centered)
        ctx.save_for_backward(x, weight, moments)
        ctx.centered = centered  # type: ignore[attr-defined]
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, moments = ctx.saved_tensors  # type: ignore[attr-defined]
        to_x, sums = get_passes().norm_gradient(x, weight, moments, grad.contiguous(), centered=ctx.centered)  # type: ignore[attr-defined]
        to_weight, to_bias = sums.sum(0).to(weight.dtype)
        return to_x, to_weight, to_bias if ctx.needs_input_grad[2] else None, None  # type: ignore[attr-defined]
