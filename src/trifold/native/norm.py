"""Layer norm and RMS norm in one pass forward and one backward."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import get_passes, uses_passes

__all__ = ["LayerNorm", "RMSNorm"]


class LayerNorm(nn.LayerNorm):
    """`(x - mean) / sqrt(variance + eps) * weight + bias` (Ba et al. 2016, equation 4).

    Example:
        >>> LayerNorm(2)(torch.tensor([[1.0, 3.0]]))
        tensor([[-1.0000,  1.0000]], grad_fn=<NativeLayerNormBackward0>)
    """

    def forward(self, input: Float[Tensor, "*places width"]) -> Float[Tensor, "*places width"]:  # noqa: A002
        """Each place by itself."""
        if not uses_passes(input) or self.weight.dtype != input.dtype:
            return super().forward(input)
        return _Norm.apply(input, self.weight, self.bias, (self.eps, True))


class RMSNorm(nn.RMSNorm):
    """`x / sqrt(mean(x^2) + eps) * weight` (Zhang & Sennrich 2019, equation 4).

    Example:
        >>> RMSNorm(2, eps=1e-6)(torch.tensor([[1.0, 1.0]])).detach()
        tensor([[1.0000, 1.0000]])
    """

    def forward(self, x: Float[Tensor, "*places width"]) -> Float[Tensor, "*places width"]:
        """Each place by itself."""
        if not uses_passes(x) or self.weight.dtype != x.dtype:
            return super().forward(x)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return _Norm.apply(x, self.weight, None, (eps, False))


class _Norm(Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, kind: tuple[float, bool]
    ) -> Tensor:
        x, (eps, centered) = x.contiguous(), kind
        made, moments = get_passes().norm(x, weight, bias, eps=eps, centered=centered)
        ctx.save_for_backward(x, weight, moments)
        ctx.centered = centered  # type: ignore[attr-defined]
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, moments = ctx.saved_tensors  # type: ignore[attr-defined]
        made, sums = get_passes().norm_gradient(x, weight, moments, grad.contiguous(), centered=ctx.centered)  # type: ignore[attr-defined]
        to_weight, to_bias = sums.sum(0).to(weight.dtype)
        return made, to_weight, to_bias if ctx.needs_input_grad[2] else None, None  # type: ignore[attr-defined]
