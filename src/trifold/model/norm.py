"""Norms: each vector brought to one size, then scaled by trained weights."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trifold.model import config

__all__ = ["OffsetRMSNorm", "build_norm"]


class OffsetRMSNorm(nn.RMSNorm):
    """`x / sqrt(mean(x^2) + eps) * (1 + weight)`; weights start at 0, which weight decay draws them to.

    Example:
        >>> OffsetRMSNorm(2, eps=1e-6)(torch.tensor([[1.0, 1.0]])).detach()
        tensor([[1.0000, 1.0000]])
    """

    def reset_parameters(self) -> None:
        """Weights to 0."""
        nn.init.zeros_(self.weight)

    def forward(self, x: Float[Tensor, "*places width"]) -> Float[Tensor, "*places width"]:
        """Each vector by itself, in float32 at least: `1 + weight` has more digits than bfloat16 holds."""
        scale = 1 + self.weight.to(torch.promote_types(x.dtype, torch.float32))
        return F.rms_norm(x.to(scale.dtype), self.normalized_shape, scale, self.eps).to(x.dtype)


def build_norm(norm: config.Norm | None, width: int) -> nn.Module:
    """The norm that a configuration asks for; the identity for None."""
    match norm:
        case config.LayerNorm():
            return nn.LayerNorm(width, eps=norm.eps, bias=norm.bias)
        case config.RMSNorm():
            return nn.RMSNorm(width, eps=norm.eps)
        case config.OffsetRMSNorm():
            return OffsetRMSNorm(width, eps=norm.eps)
        case _:
            return nn.Identity()
