"""Rotary positions in one pass each way."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import get_passes, uses_passes

__all__ = ["rotate"]


def rotate(
    x: Float[Tensor, "batch heads seq head_size"],
    cos: Float[Tensor, "rows 1 seq head_size"],
    sin: Float[Tensor, "rows 1 seq head_size"],
) -> Float[Tensor, "batch heads seq head_size"]:
    """`x cos + swap(x) sin`, where swap sends the halves (a, b) to (-b, a) (Su et al. 2021, equation 34).

    The halves of `cos` are alike, and those of `sin`.

    Example:
        >>> zero, one = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
        >>> rotate(torch.tensor([[[[2.0, 3.0]]]]), zero, one)  # a quarter turn
        tensor([[[[-3.,  2.]]]])
    """
    if uses_passes(x) and x.stride(-1) == 1 and cos.dtype == torch.float32:
        return _Rotate.apply(x, cos.contiguous(), sin.contiguous())
    left, right = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-right, left], dim=-1) * sin.to(x.dtype)


class _Rotate(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(cos, sin)
        return get_passes().rotate(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        cos, sin = ctx.saved_tensors  # type: ignore[attr-defined]
        grad = grad if grad.stride(-1) == 1 else grad.contiguous()
        return get_passes().rotate(grad, cos, sin, back=True), None, None
