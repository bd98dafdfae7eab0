"""Blocks of a decoder in one call of our kernel."""

from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trifold.acceleration.hooks import hooks_in
from trifold.generation.kernel import load_kernel
from trifold.generation.structure import BlockStructure, describe
from trifold.model import Block, Visibility
from trifold.model.cache import Slot
from trifold.model.position import Rotation

__all__ = ["StreamedBlock", "stream"]


class StreamedBlock(Block):
    """A block of a decoder that computes one new token of one row in one call of our kernel, between products in float32.

    Calls of torch cost as much as the products where there are few numbers in each. All other passes go torch's way, as do
    blocks that the kernel does not know (see `describe`), and those with hooks on any of their parts. What has been put in
    the place of a part or of a weight is noticed when the next text begins: to look before every token takes a tenth of
    the time.

    Args:
        block: what it stands in for; the two share their parts and hooks.

    Example:
        >>> from trifold.model import config
        >>> attention = config.Attention(num_heads=2, num_kv_heads=2, head_size=4, causal=True)
        >>> plain = Block(config.Block(attention=attention, feed_forward=config.FeedForward(d_ff=8, activation="gelu")), 8)
        >>> StreamedBlock(plain).feed_forward is plain.feed_forward
        True
    """

    def __init__(self, block: Block) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(block.__dict__)
        self._look()

    def _look(self) -> None:
        """Describe the block as it is now, and remember what would show that it has changed."""
        self._parts = tuple(self.modules())
        self._hooks = hooks_in(self)
        self._outside = [part.__dict__ for part in self._parts]  # where a `forward` of one part's own would stand
        self._inside = [own[name] for own in self._outside for name in ("_modules", "_parameters", "_buffers")]
        self._weights = [*self.parameters(), *self.buffers()]
        self._following: tuple[int, int] | None = None
        self._structure, self._seen = describe(self), []
        self._seen = self._sight()

    def _sight(self) -> list[int]:
        """What each part and weight is, and where it lies."""
        return [
            *map(id, chain.from_iterable(map(dict.values, self._inside))),
            *map(len, self._outside),
            *map(id, map(type, self._parts)),
            *map(Tensor.data_ptr, self._weights),
        ]

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        visibility: Visibility,
        place: Rotation | Float[Tensor, "rows heads seq key"] | None = None,
        memory: tuple[Float[Tensor, "batch memory d_model"], Visibility] | None = None,
        slot: Slot | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """As a block does."""
        kernel = load_kernel() if self._is_one_token(x, visibility) else None
        if kernel is not None and slot is not None and slot.own is not None and not isinstance(place, Tensor):
            if self._following != (id(slot), slot.length) and self._sight() != self._seen:
                self._look()
            if self._structure is not None and not any(self._hooks) and _fits(self._structure, x, slot, place):
                output = kernel.block(self._structure, x.contiguous(), slot.own, slot.length, place)
                slot.length += 1
                self._following = id(slot), slot.length
                return output
        self._following = None  # a prompt, or something else that is not the next token of the same text
        return super().forward(x, visibility, place, memory, slot)

    def _is_one_token(self, x: Tensor, visibility: Visibility) -> bool:
        """Whether it is one token of one row, that sees all that is kept, and nothing is learned."""
        one = x.shape[:2] == (1, 1) and visibility.is_everything
        return one and not torch.is_grad_enabled() and not self.training

    def __getstate__(self) -> dict[str, Any]:
        own = ("_parts", "_hooks", "_following", "_inside", "_outside", "_weights", "_structure", "_seen")
        return {name: value for name, value in self.__dict__.items() if name not in own}  # a copy has its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._look()


def _fits(structure: BlockStructure, x: Tensor, slot: Slot, place: Rotation | None) -> bool:
    """Whether all has the number format that the kernel reads, and there is room for one token more."""
    assert slot.own is not None
    keys, plain = slot.own[0], x.dtype == (torch.bfloat16 if structure.half else torch.float32)
    exact = keys.dtype == torch.float32 and (place is None or place.cos.dtype == torch.float32)
    return plain and exact and len(keys) == 1 and slot.length < keys.shape[2]


def stream(block: Block) -> Block:
    """The block as a `StreamedBlock` where the kernel can compute it; else as it is.

    Example:
        >>> from trifold.presets import build_config
        >>> from trifold.model import Transformer
        >>> stack = Transformer(build_config("t5", size="tiny")).decoder
        >>> stream(stack.blocks[0]) is stack.blocks[0]  # it reads a memory too
        True
    """
    return block if describe(block) is None else StreamedBlock(block)
