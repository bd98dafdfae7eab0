"""A Linear whose bias is added while the product is written, and whose bias's gradient is one pass."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Float
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import get_passes, uses_passes

__all__ = ["Linear", "multiply", "weight_gradients"]


class Linear(nn.Linear):
    """`x weight^T + bias`, as torch's own, which copies the bias into the result first.

    Example:
        >>> layer = Linear(2, 3).bfloat16()
        >>> layer(torch.ones(1, 2).bfloat16()).shape
        torch.Size([1, 3])
    """

    def forward(self, input: Float[Tensor, "*places inputs"]) -> Float[Tensor, "*places outputs"]:  # noqa: A002
        """The product."""
        if not self.fits(input):
            return F.linear(input, self.weight, self.bias)
        return _Product.apply(input, self.weight, self.bias)

    def fits(self, x: Float[Tensor, "*places inputs"]) -> bool:
        """Whether the product goes our way."""
        fits = self.bias is not None and uses_passes(x) and self.weight.dtype == x.dtype
        return fits and torch.backends.mkldnn.is_available()


def multiply(
    x: BFloat16[Tensor, "*places inputs"],
    weight: BFloat16[Tensor, "outputs inputs"],
    bias: BFloat16[Tensor, " outputs"],
) -> BFloat16[Tensor, "*places outputs"]:
    """`x weight^T + bias`, the bias added while the product is written."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # noqa: SLF001 - no public twin


def weight_gradients(
    grad: BFloat16[Tensor, "rows outputs"], x: BFloat16[Tensor, "rows inputs"], needs: Sequence[bool]
) -> tuple[BFloat16[Tensor, "outputs inputs"] | None, BFloat16[Tensor, " outputs"] | None]:
    """The gradients of a product's weight and bias, as far as they are needed, from that of its result."""
    return grad.t() @ x if needs[0] else None, get_passes().column_sums(grad).to(grad.dtype) if needs[1] else None


class _Product(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        needs = ctx.needs_input_grad  # type: ignore[attr-defined]
        rows = grad.flatten(0, -2).contiguous()  # N O
        to_x = (rows @ weight).view_as(x) if needs[0] else None
        return to_x, *weight_gradients(rows, x.flatten(0, -2), needs[1:])
