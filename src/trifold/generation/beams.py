"""What beams keep: keys and values stay where they were written, and a table says where each beam's past lies.

A beam search moves its beams at every step. Moving all their keys and values, and keeping a copy of a sentence's memory for
each of its beams, took a third of the time of a translation; here both stay, and attention reads through the table.

Axes: P rows with a place of their own, R rows at work, H heads, T keys, K head size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trifold.batch import Layout
from trifold.model import Visibility
from trifold.model.cache import Cache, Slot, kept
from trifold.native import get_passes, load_passes
from trifold.native.structures import Shared

__all__ = ["BeamCache", "can_share"]


def can_share(cache: Cache) -> bool:
    """Whether what a cache holds can be read through a table: float32 on a CPU, and the passes could be compiled.

    Example:
        >>> can_share(Cache(1))  # it holds nothing yet
        False
    """
    held = [part for slot in cache.slots for pair in (slot.own, slot.memory) if pair is not None for part in pair]
    plain = all((part.dtype, part.device.type) == (torch.float32, "cpu") for part in held)
    return bool(held) and plain and load_passes() is not None


@dataclass(slots=True)
class _Table:
    """Where the past of each row at work lies.

    Attributes:
        origin: in whose place each key is.
        source: which row of the memory is its own.
    """

    origin: Int[Tensor, "rows room"]
    source: Int[Tensor, " rows"]


class BeamCache(Cache):
    """A cache whose rows, when they move, leave what they keep where it is; it takes over a cache that read the prompts.

    Args:
        cache: see `can_share`.
        rows: which of its rows each row at work starts from; as many are at work at most.
    """

    def __init__(self, cache: Cache, rows: Int[Tensor, " chosen"]) -> None:
        self.layout, source = cache.layout, rows.int()
        self.table = _Table(source[:, None].repeat(1, 2 * cache.length), source)
        self.slots: list[Slot] = [_BeamSlot(self.table, slot, len(rows)) for slot in cache.slots]
        self.select_layout(rows)

    def extend(self, fresh: Layout) -> Layout:
        """Add the layout of the newest tokens, whose keys will lie in the places of the rows at work."""
        start, end = self.length, self.length + fresh.positions.shape[1]
        table = self.table
        if end > table.origin.shape[1]:
            table.origin = torch.cat([table.origin, torch.empty_like(table.origin)], dim=1)
        table.origin[:, start:end] = torch.arange(len(table.origin), dtype=torch.int32)[:, None]
        return super().extend(fresh)

    def select(self, rows: Int[Tensor, " chosen"], *, memory: bool = True) -> None:
        """Keep the given rows, in the given order."""
        del memory  # it stays in any case
        self.table.origin, self.table.source = self.table.origin[rows], self.table.source[rows]
        self.select_layout(rows)


class _BeamSlot(Slot):
    """What one block keeps, by place, token, head: P T H K."""

    def __init__(self, table: _Table, slot: Slot, places: int) -> None:
        super().__init__()
        self.table, self.length, self.memory = table, slot.length, slot.memory
        self.places, own = places, slot.own
        assert own is not None, "the prompts were read"
        self.rooms = tuple(self._laid(part[:, :, : self.length].transpose(1, 2)) for part in own)

    @property
    def read(self) -> Callable[..., Tensor]:
        """`_attend`."""
        return self._attend

    def append(
        self, key: Float[Tensor, "batch heads new head_size"], value: Float[Tensor, "batch heads new head_size"]
    ) -> tuple[Float[Tensor, "batch heads all head_size"], Float[Tensor, "batch heads all head_size"]]:
        """Add the newest keys and values, each in its own row's place."""
        fresh, end = kept(key, value), self.length + key.shape[2]
        if self.rooms[0].shape[1] < end:
            self.rooms = tuple(self._laid(room[:, : self.length]) for room in self.rooms)
        for room, part in zip(self.rooms, fresh, strict=True):
            room[: len(part), self.length : end] = part.transpose(1, 2)
        self.length = end
        return fresh  # `_attend` knows where the others are

    def _laid(self, held: Float[Tensor, "some held heads head_size"]) -> Float[Tensor, "places room heads head_size"]:
        """The same in a larger room."""
        room = held.new_empty(self.places, max(2 * held.shape[1], 64), *held.shape[2:])
        room[: len(held), : held.shape[1]] = held
        return room

    def _attend(
        self,
        query: Float[Tensor, "batch heads 1 head_size"],
        key: Tensor,
        value: Tensor,
        visibility: Visibility,
        *,
        bias: Float[Tensor, "rows heads 1 key"] | None = None,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> Float[Tensor, "batch heads 1 head_size"]:
        """As `attend` does; `key` and `value` are those of the memory, or the newest."""
        assert not dropout, "beams are for inference"
        if self.memory is not None and key is self.memory[0]:
            held, keys = (key.transpose(1, 2), value.transpose(1, 2)), key.shape[2]  # R T H K
            origin, steps = self.table.source, (1, 0)
        else:
            held, keys = self.rooms, self.length
            origin = self.table.origin
            steps = origin.shape[1], 1
        rows, heads, _, size = query.shape
        if held[0].stride() != held[1].stride() or held[0].stride(3) != 1:
            held = tuple(part.contiguous() for part in held)
        shared = Shared(
            rows=rows,
            heads=heads,
            share=heads // held[0].shape[2],
            size=size,
            keys=keys,
            key=held[0].data_ptr(),
            value=held[1].data_ptr(),
            row_step=held[0].stride(0),
            key_step=held[0].stride(1),
            head_step=held[0].stride(2),
            origin=origin.data_ptr(),
            origin_row=steps[0],
            origin_key=steps[1],
            scale=size**-0.5 if scale is None else scale,
        )
        mask = None if visibility.is_everything else visibility.mask.contiguous()  # R 1 1 T
        if mask is not None:
            shared.seen, shared.seen_row = mask.data_ptr(), mask.shape[3] if len(mask) > 1 else 0
        exact = None if bias is None else bias.float().contiguous()  # R H 1 T
        if exact is not None:
            steps = exact.shape[1] * exact.shape[3] if len(exact) > 1 else 0, exact.shape[3]
            shared.bias, (shared.bias_row, shared.bias_head) = exact.data_ptr(), steps
        queries = query.squeeze(2).float().contiguous()
        return get_passes().attend_shared(shared, queries)[:, :, None].to(query.dtype)
