"""GELU with tanh, which torch takes five times as long for in bfloat16 on a CPU."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.linear import Linear
from trifold.native.passes import get_passes, uses_passes

__all__ = ["gelu_product", "gelu_tanh"]


def gelu_tanh(x: Float[Tensor, "*places"]) -> Float[Tensor, "*places"]:
    """`x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))` (Hendrycks & Gimpel 2016, section 2).

    Example:
        >>> import torch
        >>> gelu_tanh(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.1588,  0.0000,  0.8412])
    """
    return _Gelu.apply(x.contiguous()) if uses_passes(x) else F.gelu(x, approximate="tanh")


class _Gelu(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return get_passes().gelu(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return get_passes().gelu(x, grad.contiguous())


def gelu_product(x: Float[Tensor, "*places inputs"], linear: nn.Module) -> Float[Tensor, "*places outputs"]:
    """`linear(gelu_tanh(x))`, which keeps `x` alone for the way back, and works out its GELU again there.

    Example:
        >>> import torch
        >>> gelu_product(torch.zeros(2, 3), nn.Linear(3, 4)).shape
        torch.Size([2, 4])
    """
    fits = isinstance(linear, Linear) and linear.fits(x)
    return linear(x, bends=True) if fits else linear(gelu_tanh(x))
