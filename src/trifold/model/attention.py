"""Scaled dot-product attention with many heads, over one rule of who sees whom.

Axes: B batch, S or Q queries, T keys, H heads, K head size, D d_model.
"""

from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trifold.batch import Layout
from trifold.model import config
from trifold.model.cache import Slot, kept
from trifold.model.norm import build_norm
from trifold.model.position import Rotation, rotate

__all__ = ["Attention", "Visibility", "attend", "spread_heads"]


class Visibility:
    """Which keys each query sees: those of its own document, inside the causal and window limits.

    Example:
        >>> layout = Layout.whole(1, 3)
        >>> Visibility(layout, layout, causal=True, window=1).mask[0, 0].int()
        tensor([[1, 0, 0],
                [1, 1, 0],
                [0, 1, 1]], dtype=torch.int32)
    """

    def __init__(self, query: Layout, key: Layout, *, causal: bool, window: int | None) -> None:
        self.query, self.key = query, key
        self.causal, self.window = causal, window

    @cached_property
    def is_whole(self) -> bool:
        """Whether every row is one document that no window cuts."""
        plain = self.query.documents is None and self.key.documents is None and self.query.prefix is None
        return plain and (self.window is None or self.key.positions.shape[1] - 1 <= self.window)

    @property
    def is_everything(self) -> bool:
        """Whether each query sees every key."""
        return self.is_whole and (not self.causal or self.query.positions.shape[1] == 1)

    @property
    def is_causal(self) -> bool:
        """Whether the mask is exactly the lower triangle of a square."""
        return self.is_whole and self.causal and self.query is self.key

    @cached_property
    def mask(self) -> Bool[Tensor, "rows 1 query key"]:
        """True where a query sees a key."""
        query, key = self.query.positions[:, :, None], self.key.positions[:, None, :]
        seen = torch.ones_like(query == key)  # B Q T
        if self.causal:
            seen = key <= query
            if self.query.prefix is not None:
                seen = seen | (key < self.query.prefix[:, :, None])
        if self.window is not None:
            seen = seen & ((query - key).abs() <= self.window)
        if self.query.documents is not None or self.key.documents is not None:
            seen = seen & (_documents(self.query)[:, :, None] == _documents(self.key)[:, None, :])
        return seen[:, None]


def _documents(layout: Layout) -> Tensor:
    return torch.ones_like(layout.positions) if layout.documents is None else layout.documents


def attend(
    query: Float[Tensor, "batch heads query head_size"],
    key: Float[Tensor, "batch kv_heads key head_size"],
    value: Float[Tensor, "batch kv_heads key head_size"],
    visibility: Visibility,
    *,
    bias: Float[Tensor, "rows heads query key"] | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads query head_size"]:
    """`softmax(scale * query key^T + bias) value` over the visible keys (Vaswani et al. 2017, equation 1).

    A query that sees no key gets zeros. `scale` None is `1 / sqrt(head_size)`.

    Example:
        >>> layout, x = Layout.whole(1, 2), torch.eye(2)[None, None]
        >>> attend(x, x, x, Visibility(layout, layout, causal=True, window=None))[0, 0, 0]
        tensor([1., 0.])
    """
    if key.dtype != query.dtype and query.shape[2] == 1:  # a cache in float32, see `kept`
        exact = query.to(key.dtype)
        return attend(exact, key, value, visibility, bias=bias, scale=scale, dropout=dropout).to(query.dtype)
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and query.shape[2] == 1:  # one new token: heads of a group become queries, and no key is copied
        query = query.squeeze(2).unflatten(1, (-1, groups))  # B H/G G K
        bias = None if bias is None else bias.squeeze(2).unflatten(1, (-1, groups))
        return attend(query, key, value, visibility, bias=bias, scale=scale, dropout=dropout).flatten(1, 2)[:, :, None]
    key, value = spread_heads(query, key, value)
    mask = None if bias is None else bias.to(query.dtype)
    causal = mask is None and visibility.is_causal and not visibility.is_everything
    if not causal and not visibility.is_everything:
        mask = visibility.mask if mask is None else mask.masked_fill(~visibility.mask, float("-inf"))
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, causal, scale=scale)


def spread_heads(
    query: Float[Tensor, "batch heads query head_size"],
    key: Float[Tensor, "batch kv_heads key head_size"],
    value: Float[Tensor, "batch kv_heads key head_size"],
) -> tuple[Float[Tensor, "batch heads key head_size"], Float[Tensor, "batch heads key head_size"]]:
    """Keys and values in the query's number format, one of each for each of its heads.

    Example:
        >>> keys, values = spread_heads(torch.ones(1, 4, 1, 2), torch.ones(1, 2, 3, 2), torch.ones(1, 2, 3, 2))
        >>> keys.shape
        torch.Size([1, 4, 3, 2])
    """
    groups = query.shape[1] // key.shape[1]
    key, value = key.to(query.dtype), value.to(query.dtype)
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    return key, value


class Attention(nn.Module):
    """Multi-head attention over its own tokens, or over a memory (Vaswani et al. 2017, section 3.2.2).

    Args:
        attention: its configuration.
        projections: `q_proj`, `k_proj`, `v_proj`, `o_proj`; any module from width to width may stand in for a Linear.
    """

    attend, rotate = staticmethod(attend), staticmethod(rotate)

    def __init__(self, attention: config.Attention, projections: dict[str, nn.Module]) -> None:
        super().__init__()
        self.config = attention
        self.q_proj, self.k_proj = projections["q_proj"], projections["k_proj"]
        self.v_proj, self.o_proj = projections["v_proj"], projections["o_proj"]
        self.q_norm, self.k_norm = (build_norm(attention.head_norm, attention.head_size) for _ in "qk")

    @classmethod
    def build(cls, attention: config.Attention, d_model: int) -> "Attention":
        """Attention with plain Linear projections."""
        queries, keys = attention.num_heads * attention.head_size, attention.num_kv_heads * attention.head_size
        linear = {
            name: nn.Linear(d_model, queries if name == "q_proj" else keys, bias=attention.qkv_bias)
            for name in ("q_proj", "k_proj", "v_proj")
        }
        return cls(attention, {**linear, "o_proj": nn.Linear(queries, d_model, bias=attention.output_bias)})

    def forward(self, x: Float[Tensor, "batch seq d_model"], *inputs: Any, **named: Any) -> Tensor:
        """Attend from `x` to itself or to a memory; takes what `mix` takes."""
        return self.o_proj(self.mix(x, *inputs, **named))

    def mix(
        self,
        x: Float[Tensor, "batch seq d_model"],
        visibility: Visibility,
        *,
        place: Rotation | Float[Tensor, "rows heads seq key"] | None = None,
        memory: Float[Tensor, "batch memory d_model"] | None = None,
        slot: Slot | None = None,
    ) -> Float[Tensor, "batch seq values"]:
        """What each head brings to each token, side by side.

        Args:
            x: what asks.
            visibility: who sees whom.
            place: how positions enter: rotations of queries and keys, or a bias of the scores.
            memory: what is asked, where it is not `x`.
            slot: keeps keys and values between passes.
        """
        if memory is None:
            query, key, value = self.project(x, self.q_proj, self.k_proj, self.v_proj)
            key = self.k_norm(key)
        else:
            (query,), (key, value) = self.project(x, self.q_proj), self._memory_keys(memory, slot)
        query = self.q_norm(query)
        if isinstance(place, Rotation):
            query, key = self.rotate(query, *place), key if memory is not None else self.rotate(key, *place)
        if memory is None and slot is not None:
            key, value = slot.append(key, value)
        bias = place if isinstance(place, Tensor) else None
        dropout = self.config.dropout if self.training else 0.0
        read = self.attend if slot is None or slot.read is None else slot.read
        mixed = read(query, key, value, visibility, bias=bias, scale=self.config.scale, dropout=dropout)
        return mixed.transpose(1, 2).flatten(2)  # B S H*K

    def project(self, x: Tensor, *projections: nn.Module) -> list[Float[Tensor, "batch heads seq head_size"]]:
        """`x` through each projection, cut into heads."""
        return [self._heads(projection(x)) for projection in projections]

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.config.head_size)).transpose(1, 2)  # B H S K

    def _memory_keys(self, memory: Tensor, slot: Slot | None) -> tuple[Tensor, Tensor]:
        if slot is None or slot.memory is None:
            key, value = self.project(memory, self.k_proj, self.v_proj)
            key = self.k_norm(key)
            if slot is None:
                return key, value
            slot.memory = kept(key, value)  # once per document: the memory does not change while decoding
        return slot.memory
