"""Keys and values kept between passes, so that decoding a token does not read its past again.

Axes: B batch, H heads, T keys, K head size.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trifold.batch import Layout

__all__ = ["Cache", "Slot", "kept"]


def kept(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values as they are kept: on a CPU, where attention of single bfloat16 queries is slow, in float32.

    Example:
        >>> kept(torch.zeros(1, dtype=torch.bfloat16), torch.ones(1, dtype=torch.bfloat16))
        (tensor([0.]), tensor([1.]))
    """
    return (key.float(), value.float()) if (key.dtype, key.device.type) == (torch.bfloat16, "cpu") else (key, value)


class Slot:
    """What one block keeps: its own keys and values, which grow, and those of the memory, which do not."""

    def __init__(self) -> None:
        self.length = 0
        self.own: tuple[Tensor, Tensor] | None = None
        self.memory: tuple[Tensor, Tensor] | None = None
        self.spare: tuple[Tensor, Tensor] | None = None

    @property
    def read(self) -> Callable[..., Tensor] | None:
        """What attends to them in place of `attend`, for keys and values that lie in a way of their own."""
        return None

    def append(
        self, key: Float[Tensor, "batch heads new head_size"], value: Float[Tensor, "batch heads new head_size"]
    ) -> tuple[Float[Tensor, "batch heads all head_size"], Float[Tensor, "batch heads all head_size"]]:
        """Add the newest keys and values; give all so far. Room doubles when it runs out, so adding is cheap."""
        key, value = kept(key, value)
        end = self.length + key.shape[2]
        if self.own is None or self.own[0].shape[2] < end:
            old, self.own = self.own, self._room(key, value, max(2 * end, 64), rows=len(key))
            if old is not None:
                for new, past in zip(self.own, old, strict=True):
                    new[:, :, : self.length] = past[:, :, : self.length]
            self.spare = None
        for room, fresh in zip(self.own, (key, value), strict=True):
            room[:, :, self.length : end] = fresh
        self.length = end
        return self.own[0][:, :, :end], self.own[1][:, :, :end]

    def select(self, rows: Int[Tensor, " chosen"], *, memory: bool = True) -> None:
        """Keep the given rows of the batch, in the given order; of the memory too, unless told not to."""
        if self.own is not None:
            self.own, self.spare = self._moved(self.own, rows), self.own
        if self.memory is not None and memory:
            self.memory = (self.memory[0][rows], self.memory[1][rows])

    def _moved(self, own: tuple[Tensor, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
        """The rows, in the room of the selection before last where it is large enough; only what is filled moves."""
        room, spare = own[0].shape[2], self.spare
        if spare is None or spare[0].shape[2] != room or len(spare[0]) < len(rows):
            spare = self._room(*own, room, rows=len(rows))
        key, value = (one[: len(rows)] for one in spare)
        for new, past in ((key, own[0]), (value, own[1])):
            new[:, :, : self.length] = past[:, :, : self.length].index_select(0, rows)
        return key, value

    @staticmethod
    def _room(key: Tensor, value: Tensor, length: int, *, rows: int) -> tuple[Tensor, Tensor]:
        return tuple(x.new_empty(rows, x.shape[1], length, x.shape[3]) for x in (key, value))  # type: ignore[return-value]


class Cache:
    """The slots of all blocks of a decoder and the layout of what they hold.

    Args:
        num_layers: number of blocks.

    Example:
        >>> Cache(2).length
        0
    """

    def __init__(self, num_layers: int) -> None:
        self.slots = [Slot() for _ in range(num_layers)]
        self.layout: Layout | None = None

    @property
    def length(self) -> int:
        """How many tokens a row holds, padding included."""
        return 0 if self.layout is None else self.layout.positions.shape[1]

    def extend(self, fresh: Layout) -> Layout:
        """Add the layout of the newest tokens; give that of all tokens."""
        self.layout = fresh if self.layout is None else self.layout.followed_by(fresh)
        return self.layout

    def select(self, rows: Int[Tensor, " chosen"], *, memory: bool = True) -> None:
        """Keep the given rows of the batch, in the given order (beam search; dropping finished rows).

        Args:
            rows: which rows; they may repeat.
            memory: False where each row takes the place of one with the same memory, which then need not move.
        """
        for slot in self.slots:
            slot.select(rows, memory=memory)
        self.select_layout(rows)

    def select_layout(self, rows: Int[Tensor, " chosen"]) -> None:
        """The same for the layout alone."""
        if self.layout is not None:
            self.layout = self.layout.select(rows)
