"""Parts that do one thing, in one pass each way: norms, dropout, GELU."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trifold import native

__all__ = ["FastDropout", "FastGELU", "FastLayerNorm", "FastRMSNorm"]


class FastLayerNorm(nn.LayerNorm):
    """`(x - mean) / sqrt(variance + eps) * weight + bias` (Ba et al. 2016, equation 4).

    Example:
        >>> FastLayerNorm(2)(torch.tensor([[1.0, 3.0]]))
        tensor([[-1.0000,  1.0000]], grad_fn=<NativeLayerNormBackward0>)
    """

    def forward(self, input: Float[Tensor, "*places width"]) -> Float[Tensor, "*places width"]:  # noqa: A002
        """Each place by itself."""
        if not native.uses_passes(input) or self.weight.dtype != input.dtype:
            return super().forward(input)
        return native.norm(input, self.weight, self.bias, eps=self.eps, centered=True)


class FastRMSNorm(nn.RMSNorm):
    """`x / sqrt(mean(x^2) + eps) * weight` (Zhang & Sennrich 2019, equation 4).

    Example:
        >>> FastRMSNorm(2, eps=1e-6)(torch.tensor([[1.0, 1.0]])).detach()
        tensor([[1.0000, 1.0000]])
    """

    def forward(self, x: Float[Tensor, "*places width"]) -> Float[Tensor, "*places width"]:
        """Each place by itself."""
        if not native.uses_passes(x) or self.weight.dtype != x.dtype:
            return super().forward(x)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return native.norm(x, self.weight, None, eps=eps, centered=False)


class FastDropout(nn.Dropout):
    """Leaves numbers out by chance, and lets the others grow by `1 / (1 - p)` (Srivastava et al. 2014).

    Example:
        >>> dropout = FastDropout(0.5)
        >>> set(dropout(torch.ones(1000)).tolist()) == {0.0, 2.0}, dropout.eval()(torch.ones(2)).tolist()
        (True, [1.0, 1.0])
    """

    def forward(self, input: Float[Tensor, "*places"]) -> Float[Tensor, "*places"]:  # noqa: A002
        """What is left of it; the numbers left out are drawn from torch's global generator."""
        return self.add(None, input)

    def add(self, residual: Float[Tensor, "*places"] | None, x: Float[Tensor, "*places"]) -> Float[Tensor, "*places"]:
        """What is left of `x`, added to `residual` where there is one."""
        fits = native.uses_passes(x) and (residual is None or residual.dtype == x.dtype)
        if self.training and 0.0 < self.p < 1.0 and fits:
            return native.dropout(x, residual, self.p)
        left = super().forward(x)
        return left if residual is None else residual + left


class FastGELU(nn.GELU):
    """`x Phi(x)` (Hendrycks & Gimpel 2016), of which the form with tanh is one pass.

    Example:
        >>> FastGELU(approximate="tanh")(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.1588,  0.0000,  0.8412])
    """

    def forward(self, input: Float[Tensor, "*places"]) -> Float[Tensor, "*places"]:  # noqa: A002
        """Each number by itself."""
        return native.gelu_tanh(input) if self.approximate == "tanh" else F.gelu(input)
