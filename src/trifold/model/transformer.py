"""The one core: encoder, decoder, or both, assembled from its configuration.

Axes: B batch, S sequence, D d_model, V vocabulary.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trifold.batch import Batch, Layout
from trifold.model import config
from trifold.model.attention import Visibility
from trifold.model.block import Block
from trifold.model.cache import Cache
from trifold.model.head import Head
from trifold.model.initialization import initialize
from trifold.model.norm import build_norm
from trifold.model.position import Sinusoidal, build_position

__all__ = ["Embedding", "Stack", "Transformer"]


class Embedding(nn.Module):
    """Token ids to vectors: tokens times a scale, plus positions and segments, normed, and brought to the model's width."""

    def __init__(self, embedding: config.Embedding, tokens: nn.Embedding, d_model: int) -> None:
        super().__init__()
        width = tokens.embedding_dim
        self.scale, self.tokens = embedding.scale, tokens
        self.position, self.offset = None, 0
        match embedding.position:
            case config.Learned(max_length=length, offset=offset):
                self.position, self.offset = nn.Embedding(length + offset, width), offset
            case config.Sinusoidal():
                self.position = Sinusoidal(width)
        self.segments = nn.Embedding(embedding.num_segments, width) if embedding.num_segments else None
        self.norm = build_norm(embedding.norm, width)
        self.dropout = nn.Dropout(embedding.dropout)
        self.project = nn.Linear(width, d_model) if embedding.width else nn.Identity()

    def forward(self, tokens: Int[Tensor, "batch seq"], layout: Layout) -> Float[Tensor, "batch seq d_model"]:
        """Vectors of the tokens where they stand."""
        x = self.tokens(tokens) * self.scale
        if self.position is not None:
            x = x + self.position(layout.positions + self.offset).to(x.dtype)
        if self.segments is not None:
            x = x + self.segments(torch.zeros_like(tokens) if layout.segments is None else layout.segments)
        return self.project(self.dropout(self.norm(x)))


class Stack(nn.Module):
    """Blocks one after another, some of them several times; owns the position modules that they share.

    Attributes:
        checkpointing: keep only the input of each block for the backward pass and compute the rest again.
    """

    def __init__(self, stack: config.Stack, d_model: int) -> None:
        super().__init__()
        self.config, self.checkpointing = stack, False
        shared = {block: Block(block, d_model) for block in dict.fromkeys(stack.blocks) if block.shared is not None}
        blocks = nn.ModuleList(shared.get(block) or Block(block, d_model) for block in stack.blocks)
        self.blocks = cast("Sequence[Block]", blocks)
        distinct = list(dict.fromkeys(block.attention.position for block in stack.blocks))
        owners = [next(b.attention for b in stack.blocks if b.attention.position == position) for position in distinct]
        self.positions = nn.ModuleList(build_position(owner) or nn.Identity() for owner in owners)
        self.position_of = [distinct.index(block.attention.position) for block in stack.blocks]
        self.final_norm = build_norm(stack.final_norm, d_model)
        self.dropout = nn.Dropout(stack.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        layout: Layout,
        *,
        memory: Float[Tensor, "batch memory d_model"] | None = None,
        memory_layout: Layout | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """Vectors through all blocks; who sees whom is worked out once, for all of them."""
        keys = layout if cache is None else cache.extend(layout)
        places = [None if isinstance(module, nn.Identity) else module(layout, keys) for module in self.positions]
        views: dict[tuple[bool, int | None], Visibility] = {}
        cross = None
        if memory is not None and memory_layout is not None:
            cross = (memory, Visibility(layout, memory_layout, causal=False, window=None))
        for index, (block, owner) in enumerate(zip(self.blocks, self.position_of, strict=True)):
            kind = (block.config.attention.causal, block.config.attention.window)
            view = views.setdefault(kind, Visibility(layout, keys, causal=kind[0], window=kind[1]))
            slot = cache.slots[index] if cache is not None else None
            run = partial(checkpoint, block, use_reentrant=False) if self.checkpointing and self.training else block
            x = run(x, view, places[owner], cross, slot)
        return self.dropout(self.final_norm(x))


class Transformer(nn.Module):
    """An encoder, a decoder or both over one embedding, with a language-model head.

    Args:
        transformer: what to build; weights start from torch's global random state.

    Example:
        >>> part = config.Attention(num_heads=2, num_kv_heads=2, head_size=4, causal=True)
        >>> block = config.Block(attention=part, feed_forward=config.FeedForward(d_ff=8, activation="gelu"))
        >>> shape = config.Transformer(vocab_size=16, d_model=8, embedding=config.Embedding(),
        ...                            decoder=config.Stack(blocks=(block,)))
        >>> model = Transformer(shape)
        >>> model.head(model.decode(torch.tensor([[1, 2, 3]]))).shape
        torch.Size([1, 3, 16])
    """

    def __init__(self, transformer: config.Transformer) -> None:
        super().__init__()
        self.config = transformer
        embedding, own, width = transformer.embedding, transformer.decoder_embedding, transformer.d_model
        tokens = nn.Embedding(transformer.vocab_size, embedding.width or width, padding_idx=embedding.padding)
        self.embedding = Embedding(embedding, tokens, width)
        self.decoder_embedding = Embedding(own, tokens, width) if own else None
        self.encoder: Stack | None = Stack(transformer.encoder, transformer.d_model) if transformer.encoder else None
        self.decoder: Stack | None = Stack(transformer.decoder, transformer.d_model) if transformer.decoder else None
        self.head = Head(transformer, self.embedding.tokens)
        if self.embedding.tokens.weight.device.type != "meta":
            initialize(self, transformer)

    def forward(self, batch: Batch) -> Float[Tensor, "batch seq d_model"]:
        """Hidden states of the stack that the head reads."""
        memory = None
        if self.encoder is not None:
            assert batch.source is not None, "a model with an encoder reads a source"
            memory = self.encode(batch.source, batch.source_layout)
            if self.decoder is None:
                return memory
        assert batch.target is not None, "a model with a decoder reads a target"
        return self.decode(batch.target, batch.target_layout, memory=memory, memory_layout=batch.source_layout)

    def encode(
        self, tokens: Int[Tensor, "batch seq"], layout: Layout | None = None
    ) -> Float[Tensor, "batch seq d_model"]:
        """The encoder's hidden states; without a layout each row is one whole document."""
        assert self.encoder is not None, "this model has no encoder"
        layout = layout or Layout.whole(*tokens.shape, device=tokens.device)
        return self.encoder(self.embedding(tokens, layout), layout)

    def decode(
        self,
        tokens: Int[Tensor, "batch seq"],
        layout: Layout | None = None,
        *,
        memory: Float[Tensor, "batch memory d_model"] | None = None,
        memory_layout: Layout | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """The decoder's hidden states; with a cache, of the newest tokens only, which follow those it holds."""
        assert self.decoder is not None, "this model has no decoder"
        layout = layout or Layout.whole(*tokens.shape, start=cache.length if cache else 0, device=tokens.device)
        if memory is not None and memory_layout is None:
            memory_layout = Layout.whole(*memory.shape[:2], device=memory.device)
        x = (self.decoder_embedding or self.embedding)(tokens, layout)
        return self.decoder(x, layout, memory=memory, memory_layout=memory_layout, cache=cache)

    def new_cache(self) -> Cache:
        """An empty cache for `decode`."""
        assert self.config.decoder is not None, "this model has no decoder"
        return Cache(len(self.config.decoder.blocks))
