"""Products by weights, with what comes before and after them: bias, activation, and what they are added to."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Float
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.activation import activate
from trifold.native.passes import get_passes, uses_passes
from trifold.native.processor import onednn_multiplies_bfloat16
from trifold.native.product import Bend, load_products

__all__ = ["Linear", "bend_product", "project"]


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
        return _Products.apply(input, None, "identity", self.weight, self.bias)[0]

    def fits(self, x: Float[Tensor, "*places inputs"]) -> bool:
        """Whether the product goes our way."""
        fits = uses_passes(x) and self.weight.dtype == x.dtype
        return fits and (load_products() is not None or self.bias is not None)


def bend_product(
    x: Float[Tensor, "*places inputs"],
    linear: nn.Module,
    *,
    bend: Bend = "identity",
    more: Float[Tensor, "*places outputs"] | None = None,
) -> Float[Tensor, "*places outputs"]:
    """`more + linear(bend(x))`. Only `x` is kept for the way back, where it is bent again.

    Args:
        x: what is multiplied.
        linear: a Linear, or whatever stands in for one.
        bend: the activation function before the product.
        more: what the product is added to.

    Example:
        >>> bend_product(torch.zeros(2, 3), nn.Linear(3, 4, bias=False), bend="relu", more=torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """
    fits = isinstance(linear, Linear) and linear.fits(x)
    if fits and load_products() is not None and (more is None or more.dtype == x.dtype):
        return _Products.apply(x, more, bend, linear.weight, linear.bias)[0]
    if fits and bend == "gelu_tanh":
        made = _Products.apply(x, None, bend, linear.weight, linear.bias)[0]
    else:
        made = linear(activate(bend)(x))
    return made if more is None else more + made


def project(x: Float[Tensor, "*places inputs"], *linears: nn.Module) -> tuple[Float[Tensor, "*places outputs"], ...]:
    """`linear(x)` of each, whose gradients for `x` are added up while they are multiplied.

    Example:
        >>> [made.shape[-1] for made in project(torch.zeros(2, 3), nn.Linear(3, 4), nn.Linear(3, 5))]
        [4, 5]
    """
    if all(isinstance(linear, Linear) and linear.fits(x) for linear in linears) and load_products() is not None:
        return _Products.apply(
            x, None, "identity", *(part for linear in linears for part in (linear.weight, linear.bias))
        )
    return tuple(linear(x) for linear in linears)


class _Products(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *given: Any) -> tuple[Tensor, ...]:  # type: ignore[override]
        x, more, bend, *parts = given
        rows, weights = _rows(x), [weight.contiguous() for weight in parts[::2]]
        more = None if more is None else _rows(more)
        ctx.save_for_backward(rows, *weights)
        ctx.shape, ctx.bend = x.shape, bend  # type: ignore[attr-defined]
        made = (_multiply(rows, weight, bias, more, bend) for weight, bias in zip(weights, parts[1::2], strict=True))
        return tuple(one.view(*x.shape[:-1], one.shape[-1]) for one in made)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, *weights = ctx.saved_tensors  # type: ignore[attr-defined]
        needs_x, needs_more, _, *needs = ctx.needs_input_grad  # type: ignore[attr-defined]
        to_x, rest = None, []
        for number, (grad, weight) in enumerate(zip(grads, weights, strict=True)):
            wanted = (needs_x, *needs[2 * number : 2 * number + 2])
            step = None if grad is None else _multiply_back(_rows(grad), x, weight, (to_x, ctx.bend), wanted)  # type: ignore[attr-defined]
            to_x, *found = (to_x, None, None) if step is None else step
            rest += found
        return None if to_x is None else to_x.view(ctx.shape), grads[0] if needs_more else None, None, *rest  # type: ignore[attr-defined]


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()


def _multiply(
    x: BFloat16[Tensor, "rows inputs"],
    weight: BFloat16[Tensor, "outputs inputs"],
    bias: BFloat16[Tensor, " outputs"] | None,
    more: BFloat16[Tensor, "rows outputs"] | None,
    bend: Bend,
) -> BFloat16[Tensor, "rows outputs"]:
    """`bend(x) weight^T + bias + more`; without products, `more` is None and the activation GELU with tanh."""
    products = load_products()
    if products is not None:
        return products.forward(x, weight, bias, more, bend=bend)
    x = x if bend == "identity" else get_passes().gelu(x)
    if not onednn_multiplies_bfloat16():
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # noqa: SLF001 - no public twin


def _multiply_back(
    grad: BFloat16[Tensor, "rows outputs"],
    x: BFloat16[Tensor, "rows inputs"],
    weight: BFloat16[Tensor, "outputs inputs"],
    so_far: tuple[BFloat16[Tensor, "rows inputs"] | None, Bend],
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x, added to what there is of it, of weight and of bias, as far as they are needed."""
    products, (to_x, bend) = load_products(), so_far
    if products is None:
        return _multiply_back_by_torch(grad, x, weight, bend, needs)
    sums = grad.new_zeros(len(weight), dtype=torch.float32) if needs[2] else None
    to_x = products.backward(grad, weight, x, to_x, bend=bend, out=to_x) if needs[0] else None
    to_weight = products.weight_gradient(grad, x, bend=bend, sums=sums) if needs[1] or needs[2] else None
    return to_x, to_weight if needs[1] else None, None if sums is None else sums.to(grad.dtype)


def _multiply_back_by_torch(
    grad: Tensor, x: Tensor, weight: Tensor, bend: Bend, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The same of one product."""
    passes, bends = get_passes(), bend != "identity"
    to_x = grad @ weight if needs[0] or bends else None
    x = passes.gelu_again(x, to_x) if bends and to_x is not None else x
    sums = passes.column_sums(grad).to(grad.dtype) if needs[2] else None
    return to_x if needs[0] else None, grad.t() @ x if needs[1] else None, sums
