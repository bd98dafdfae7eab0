"""Attention in matrix products of our own, or by a kernel for packed rows, where they are the faster ones.

Axes: B batch, Q queries, T keys, H heads, K head size.
"""

from weakref import WeakKeyDictionary

from jaxtyping import Float
from torch import Tensor, nn

from trifold import native
from trifold.acceleration.linear import add_product, project
from trifold.acceleration.packed import attend_packed, takes_packed
from trifold.model import Attention, Visibility
from trifold.model import attend as attend_plainly
from trifold.model.attention import spread_heads

__all__ = ["FastAttention", "attend"]

_PACKED: WeakKeyDictionary[Visibility, Tensor | None] = WeakKeyDictionary()


def _packed(visibility: Visibility) -> Tensor | None:
    """The mask as the kernel of attention reads it, once for all layers; None where there is none."""
    if visibility not in _PACKED:
        _PACKED[visibility] = native.pack_mask(visibility.mask)
    return _PACKED[visibility]


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
    """As `trifold.model.attend`.

    Example:
        >>> import torch
        >>> from trifold.batch import Layout
        >>> layout, x = Layout.whole(1, 2), torch.eye(2)[None, None]
        >>> attend(x, x, x, Visibility(layout, layout, causal=True, window=None))[0, 0, 0]
        tensor([1., 0.])
    """
    if bias is None and not dropout and takes_packed(query, visibility):
        return attend_packed(query, key, value, visibility, scale=scale)
    if query.shape[2] == 1 or not native.mixes(query, key.shape[2]):
        return attend_plainly(query, key, value, visibility, bias=bias, scale=scale, dropout=dropout)
    key, value = spread_heads(query, key, value)
    triangle = visibility.is_causal and not visibility.is_everything
    masked = not triangle and not visibility.is_everything
    rule = native.Rule(
        mask=visibility.mask if masked else None,
        packed=_packed(visibility) if masked else None,
        causal=triangle,
        scale=query.shape[-1] ** -0.5 if scale is None else scale,
        dropout=dropout,
    )
    return native.mix_values(query, key, value, rule, None if bias is None else bias.to(query.dtype))


class FastAttention(Attention):
    """Attention whose projections are one product, and whose result is added while the last product is computed."""

    attend, rotate = staticmethod(attend), staticmethod(native.rotate)

    def add(self, residual: Tensor, x: Tensor, *inputs: object, **named: object) -> Tensor:
        """What `forward` gives, added to `residual`."""
        return add_product(residual, self.mix(x, *inputs, **named), self.o_proj)  # type: ignore[arg-type]

    def project(self, x: Tensor, *projections: nn.Module) -> list[Float[Tensor, "batch heads seq head_size"]]:
        """`x` through each projection, cut into heads."""
        return [self._heads(one) for one in project(x, *projections)]
