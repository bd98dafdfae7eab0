"""Parts of a configuration as most families have them; a family replaces what is its own."""

from collections.abc import Iterable

from trifold.model import config
from trifold.presets.options import Body, Shape

__all__ = ["attention", "decoder_only", "feed_forward"]


def attention(options: Shape, residual: config.Residual, *, causal: bool) -> config.Attention:
    """Attention of as many heads for keys and values as for queries.

    Example:
        >>> attention(Body(d_model=32, num_heads=4), config.Residual(), causal=True).head_size
        8
    """
    return config.Attention(
        num_heads=options.num_heads,
        num_kv_heads=options.num_heads,
        head_size=options.head_width,
        causal=causal,
        dropout=options.dropout,
        residual=residual,
    )


def feed_forward(options: Shape, residual: config.Residual) -> config.FeedForward:
    """A feed-forward without gate.

    Example:
        >>> feed_forward(Body(d_model=32, num_heads=4), config.Residual()).d_ff
        128
    """
    return config.FeedForward(
        d_ff=options.inner, activation=options.activation, dropout=options.inner_dropout, residual=residual
    )


def decoder_only(
    options: Body, blocks: Iterable[config.Block], norm: config.Norm, position: config.Learned | None = None
) -> config.Transformer:
    """A decoder whose norms stand before the branches, and one after the last block.

    Args:
        options: of the family.
        blocks: its layers.
        norm: after the last of them.
        position: the positions that are added to the vectors of tokens.

    Example:
        >>> options, plain = Body(d_model=32, num_heads=4), config.Residual()
        >>> look, inner = attention(options, plain, causal=True), feed_forward(options, plain)
        >>> block = config.Block(attention=look, feed_forward=inner)
        >>> len(decoder_only(options, [block] * 2, config.RMSNorm()).main.blocks)
        2
    """
    return config.Transformer(
        vocab_size=options.vocab_size,
        d_model=options.d_model,
        embedding=config.Embedding(position=position, dropout=options.dropout),
        decoder=config.Stack(blocks=tuple(blocks), final_norm=norm),
        head=config.Head(tied=options.tied),
        initialization=config.Initialization(std=options.std, scale_residual=True),
    )
