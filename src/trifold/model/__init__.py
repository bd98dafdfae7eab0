"""The core: attention, feed-forward, norms and residuals, stacked; no family's name in it."""

from trifold.model.attention import Attention, Visibility, attend
from trifold.model.block import Block, FeedForward, Residual
from trifold.model.cache import Cache
from trifold.model.head import Head
from trifold.model.position import RelativeBias, Rotary, Sinusoidal
from trifold.model.transformer import Embedding, Stack, Transformer

__all__ = [
    "Attention",
    "Block",
    "Cache",
    "Embedding",
    "FeedForward",
    "Head",
    "RelativeBias",
    "Residual",
    "Rotary",
    "Sinusoidal",
    "Stack",
    "Transformer",
    "Visibility",
    "attend",
]
