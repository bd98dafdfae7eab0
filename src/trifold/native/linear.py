"""A Linear whose bias is added while the product is written, and whose bias's gradient is one pass."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Float
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import get_passes, uses_passes
from trifold.native.product import load_products

__all__ = ["Linear"]


class Linear(nn.Linear):
    """`x weight^T + bias`, as torch's own, which copies the bias into the result first.

    Example:
        >>> layer = Linear(2, 3).bfloat16()
        >>> layer(torch.ones(1, 2).bfloat16()).shape
        torch.Size([1, 3])
    """

    def forward(self, input: Float[Tensor, "*places inputs"], *, bends: bool = False) -> Float[Tensor, "*places outputs"]:  # noqa: A002
        """The product; with `bends`, of the GELU of the input (with tanh), which is worked out again on the way back."""
        if not self.fits(input):
            return F.linear(F.gelu(input, approximate="tanh") if bends else input, self.weight, self.bias)
        return _Product.apply(input, self.weight, self.bias, bends)

    def fits(self, x: Float[Tensor, "*places inputs"]) -> bool:
        """Whether the product goes our way."""
        fits = self.bias is not None and uses_passes(x) and self.weight.dtype == x.dtype
        return fits and torch.backends.mkldnn.is_available()


def multiply(
    x: BFloat16[Tensor, "rows inputs"],
    weight: BFloat16[Tensor, "outputs inputs"],
    bias: BFloat16[Tensor, " outputs"],
    *,
    bends: bool = False,
) -> BFloat16[Tensor, "rows outputs"]:
    """`x weight^T + bias`, the bias added while the product is written; with `bends`, of the GELU of x."""
    products = load_products()
    if products is not None:
        return products.forward(x, weight, bias, bends=bends)
    x = get_passes().gelu(x) if bends else x
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # noqa: SLF001 - no public twin


def multiply_back(
    grad: BFloat16[Tensor, "rows outputs"],
    x: BFloat16[Tensor, "rows inputs"],
    weight: BFloat16[Tensor, "outputs inputs"],
    needs: Sequence[bool],
    *,
    bends: bool = False,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of a product's x, weight and bias, as far as they are needed, from that of its result."""
    products = load_products()
    if products is None:
        return _multiply_back(grad, x, weight, needs, bends=bends)
    sums = torch.zeros(len(weight)) if needs[2] else None
    to_x = products.backward(grad, weight, x if bends else None) if needs[0] else None
    to_weight = products.weight_gradient(grad, x, bends=bends, sums=sums) if needs[1] or needs[2] else None
    return to_x, to_weight if needs[1] else None, None if sums is None else sums.to(grad.dtype)


def _multiply_back(
    grad: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], *, bends: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The same by torch's products."""
    passes = get_passes()
    to_x = grad @ weight if needs[0] or bends else None
    x = passes.gelu_again(x, to_x) if bends and to_x is not None else x
    sums = passes.column_sums(grad).to(grad.dtype) if needs[2] else None
    return to_x if needs[0] else None, grad.t() @ x if needs[1] else None, sums


class _Product(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *given: Any) -> Tensor:  # type: ignore[override]
        x, weight, bias, bends = given
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        ctx.save_for_backward(rows, weight)
        ctx.shape, ctx.bends = x.shape, bends  # type: ignore[attr-defined]
        return multiply(rows, weight.contiguous(), bias, bends=bends).view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        rows, needs = grad.reshape(-1, grad.shape[-1]).contiguous(), ctx.needs_input_grad  # type: ignore[attr-defined]
        to_x, *rest = multiply_back(rows, x, weight.contiguous(), needs, bends=ctx.bends)  # type: ignore[attr-defined]
        return None if to_x is None else to_x.view(ctx.shape), *rest, None  # type: ignore[attr-defined]
