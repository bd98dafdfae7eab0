"""Products by weights, with what comes before and after them: bias, activation, and what they are added to."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import get_passes, uses_passes
from trifold.native.processor import onednn_multiplies_bfloat16
from trifold.native.product import Activation, load_products

__all__ = ["fits_product", "multiply"]


Weights = tuple[Tensor, Tensor | None]
"""Weight and bias."""


def fits_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a product of ours is the faster one."""
    fits = uses_passes(x) and weight.dtype == x.dtype
    return fits and (load_products() is not None or bias is not None)


def multiply(
    x: BFloat16[Tensor, "*places inputs"],
    *weights: Weights,
    activation: Activation = "identity",
    residual: BFloat16[Tensor, "*places outputs"] | None = None,
) -> tuple[BFloat16[Tensor, "*places outputs"], ...]:
    """`activation(x) weight^T + bias + residual` of each pair of weight and bias; `x` fits all of them.

    Only `x` is kept for the way back, where the activation is computed again, and the gradients for `x` are added up while
    they are multiplied. Without compiled products, there is one pair, no residual, and no activation but GELU with tanh.
    """
    return _Products.apply(x, residual, activation, *(part for pair in weights for part in pair))


class _Products(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *inputs: Any) -> tuple[Tensor, ...]:  # type: ignore[override]
        x, residual, activation, *parts = inputs
        rows, weights = _rows(x), [weight.contiguous() for weight in parts[::2]]
        residual = None if residual is None else _rows(residual)
        ctx.save_for_backward(rows, *weights)
        ctx.shape, ctx.activation = x.shape, activation  # type: ignore[attr-defined]
        products = (
            _multiply(rows, weight, bias, residual, activation)
            for weight, bias in zip(weights, parts[1::2], strict=True)
        )
        return tuple(product.view(*x.shape[:-1], product.shape[-1]) for product in products)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, *weights = ctx.saved_tensors  # type: ignore[attr-defined]
        needs_x, needs_more, _, *needs = ctx.needs_input_grad  # type: ignore[attr-defined]
        to_x, rest = None, []
        for number, (grad, weight) in enumerate(zip(grads, weights, strict=True)):
            wanted = (needs_x, *needs[2 * number : 2 * number + 2])
            step = None if grad is None else _multiply_back(_rows(grad), x, weight, (to_x, ctx.activation), wanted)  # type: ignore[attr-defined]
            to_x, *found = (to_x, None, None) if step is None else step
            rest += found
        return None if to_x is None else to_x.view(ctx.shape), grads[0] if needs_more else None, None, *rest  # type: ignore[attr-defined]


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()


def _multiply(
    x: BFloat16[Tensor, "rows inputs"],
    weight: BFloat16[Tensor, "outputs inputs"],
    bias: BFloat16[Tensor, " outputs"] | None,
    residual: BFloat16[Tensor, "rows outputs"] | None,
    activation: Activation,
) -> BFloat16[Tensor, "rows outputs"]:
    """`activation(x) weight^T + bias + residual`; without products no residual, and no activation but GELU with tanh."""
    products = load_products()
    if products is not None:
        return products.forward(x, weight, bias, residual, activation=activation)
    x = x if activation == "identity" else get_passes().gelu(x)
    if not onednn_multiplies_bfloat16():
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # noqa: SLF001 - no public twin


def _multiply_back(
    grad: BFloat16[Tensor, "rows outputs"],
    x: BFloat16[Tensor, "rows inputs"],
    weight: BFloat16[Tensor, "outputs inputs"],
    so_far: tuple[BFloat16[Tensor, "rows inputs"] | None, Activation],
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x, added to what there is of it, of weight and of bias, as far as they are needed."""
    products, (to_x, activation) = load_products(), so_far
    if products is None:
        return _multiply_back_by_torch(grad, x, weight, activation, needs)
    sums = grad.new_zeros(len(weight), dtype=torch.float32) if needs[2] else None
    to_x = products.backward(grad, weight, x, to_x, activation=activation, out=to_x) if needs[0] else None
    to_weight = products.weight_gradient(grad, x, activation=activation, sums=sums) if needs[1] or needs[2] else None
    return to_x, to_weight if needs[1] else None, None if sums is None else sums.to(grad.dtype)


def _multiply_back_by_torch(
    grad: Tensor, x: Tensor, weight: Tensor, activation: Activation, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The same of one product."""
    passes, active = get_passes(), activation != "identity"
    to_x = grad @ weight if needs[0] or active else None
    x = passes.gelu_again(x, to_x) if active and to_x is not None else x
    sums = passes.column_sums(grad).to(grad.dtype) if needs[2] else None
    return to_x if needs[0] else None, grad.t() @ x if needs[1] else None, sums
