"""Where a token stands: learned, sinusoidal, rotary and relative-bias positions.

Axes: B batch (or 1), S sequence, H heads, K head size, D d_model.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trifold.batch import Layout
from trifold.model import config

__all__ = ["RelativeBias", "Rotary", "Rotation", "Sinusoidal", "build_position", "rotate"]


class Sinusoidal(nn.Module):
    """Fixed positions `sin(p / 10000^(i / half))` and `cos` of the same, half and half (Vaswani et al. 2017).

    Example:
        >>> Sinusoidal(4)(torch.tensor([[0]]))
        tensor([[[0., 0., 1., 1.]]])
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model

    def forward(self, positions: Int[Tensor, "rows seq"]) -> Float[Tensor, "rows seq d_model"]:
        """Positions to vectors, computed in float64 and returned in float32 (float64 where that is the default)."""
        half = torch.arange(0, self.d_model, 2, device=positions.device).double()
        angle = positions[..., None] * 10_000.0 ** (-half / self.d_model)  # B S D/2
        table = torch.cat([angle.sin(), angle.cos()[..., : self.d_model // 2]], dim=-1)
        return table.to(torch.get_default_dtype())


class Rotation(NamedTuple):
    """Cosines and sines for the tokens of one pass; `rotate` turns queries and keys by them."""

    cos: Float[Tensor, "rows 1 seq head_size"]
    sin: Float[Tensor, "rows 1 seq head_size"]


def rotate(
    x: Float[Tensor, "batch heads seq head_size"],
    cos: Float[Tensor, "rows 1 seq head_size"],
    sin: Float[Tensor, "rows 1 seq head_size"],
) -> Float[Tensor, "batch heads seq head_size"]:
    """`x cos + swap(x) sin`, where swap sends the halves (a, b) to (-b, a) (Su et al. 2021, equation 34).

    Example:
        >>> zero, one = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
        >>> rotate(torch.tensor([[[[2.0, 3.0]]]]), zero, one)  # a quarter turn
        tensor([[[[-3.,  2.]]]])
    """
    left, right = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-right, left], dim=-1) * sin.to(x.dtype)


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021, equation 34); has no parameters.

    Example:
        >>> rotation = Rotary(config.Rotary(), head_size=4)(Layout.whole(1, 2))
        >>> rotation.cos.shape
        torch.Size([1, 1, 2, 4])
    """

    def __init__(self, rotary: config.Rotary, *, head_size: int) -> None:
        super().__init__()
        self.rotary, self.head_size = rotary, head_size

    def forward(self, query: Layout, key: Layout | None = None) -> Rotation:
        """The rotation of the query's tokens; keys of earlier passes were rotated then."""
        del key
        steps = torch.arange(0, self.head_size, 2, device=query.positions.device).double()
        frequency = self._stretch(self.rotary.base ** (-steps / self.head_size))
        angle = query.positions[:, None, :, None] * torch.cat([frequency, frequency])  # B 1 S K
        dtype = torch.get_default_dtype()
        return Rotation(angle.cos().to(dtype), angle.sin().to(dtype))

    def _stretch(self, frequency: Tensor) -> Tensor:
        """Interpolation (Dubey et al. 2024): long waves slowed down by `factor`, short ones kept, a ramp between."""
        scaling = self.rotary.scaling
        if scaling is None:
            return frequency
        turns = scaling.original_max_length * frequency / (2 * math.pi)
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return frequency * (kept + (1 - kept) / scaling.factor)


class RelativeBias(nn.Module):
    """A bias per head and bucket of distance; near distances have their own bucket, far ones share (T5).

    Example:
        >>> bias = RelativeBias(config.RelativeBias(bidirectional=True), num_heads=2)
        >>> bias(Layout.whole(1, 3)).shape
        torch.Size([1, 2, 3, 3])
    """

    def __init__(self, relative: config.RelativeBias, *, num_heads: int) -> None:
        super().__init__()
        self.relative = relative
        self.table = nn.Embedding(relative.num_buckets, num_heads)

    def forward(self, query: Layout, key: Layout | None = None) -> Float[Tensor, "rows heads query key"]:
        """The bias between each query and each key (the query's own tokens where `key` is None)."""
        key = query if key is None else key
        distance = key.positions[:, None, :] - query.positions[:, :, None]  # B S S
        return self.table(self._bucket(distance)).permute(0, 3, 1, 2)  # B H S S

    def _bucket(self, distance: Int[Tensor, "rows query key"]) -> Int[Tensor, "rows query key"]:
        buckets, start = self.relative.num_buckets, torch.zeros_like(distance)
        if self.relative.bidirectional:
            buckets //= 2
            start, distance = (distance > 0) * buckets, distance.abs()
        else:
            distance = (-distance).clamp(min=0)
        exact = buckets // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.relative.max_distance / exact)
        far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
        return start + torch.where(distance < exact, distance, far)


def build_position(attention: config.Attention) -> Rotary | RelativeBias | None:
    """The position module that an attention configuration asks for."""
    match attention.position:
        case config.Rotary():
            return Rotary(attention.position, head_size=attention.head_size)
        case config.RelativeBias():
            return RelativeBias(attention.position, num_heads=attention.num_heads)
        case None:
            return None
