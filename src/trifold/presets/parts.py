"""Parts of a configuration as most families have them; a family replaces what is its own."""

from collections.abc import Iterable
from dataclasses import replace

from trifold.model import config
from trifold.presets.options import Body, Layered, Pair, Shape

__all__ = ["attention", "decoder_only", "encoder_decoder", "encoder_only", "feed_forward", "layers"]


def attention(
    options: Shape, residual: config.Residual, *, causal: bool, bias: bool = True, dropout: float | None = None
) -> config.Attention:
    """Attention at the positions that are in the vectors of tokens.

    Args:
        options: of the family.
        residual: around it.
        causal: whether a token sees only what stands before it.
        bias: whether its projections have biases.
        dropout: of its weights; None for what the options say.

    Example:
        >>> attention(Body(d_model=32, num_heads=4), config.Residual(), causal=True).head_size
        8
    """
    return config.Attention(
        num_heads=options.num_heads,
        num_kv_heads=options.kv_heads,
        head_size=options.head_width,
        causal=causal,
        qkv_bias=bias,
        output_bias=bias,
        dropout=options.attention_rate if dropout is None else dropout,
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


def layers(
    options: Layered, whole: config.Attention, local: config.Attention, residual: config.Residual
) -> list[config.Block]:
    """Gated layers, some of which see everything and others a window.

    Args:
        options: of the family, which say what each layer sees.
        whole: the attention of layers that see everything.
        local: that of the others.
        residual: around each feed-forward.

    Example:
        >>> from trifold.presets.options import Layered
        >>> options, plain = Layered(num_layers=2, d_model=32, num_heads=4), config.Residual()
        >>> look = attention(options, plain, causal=True)
        >>> [block.feed_forward.gated for block in layers(options, look, look, plain)]
        [True, True]
    """
    inner = replace(feed_forward(options, residual), gated=True, bias=options.mlp_bias)
    attentions = [whole if kind == "full_attention" else local for kind in options.kinds]
    return [config.Block(attention=attention, feed_forward=inner) for attention in attentions]


def encoder_only(
    options: Body,
    blocks: Iterable[config.Block],
    *,
    embedding: config.Embedding,
    head: config.Head,
    norm: config.Norm | None = None,
) -> config.Transformer:
    """An encoder whose head says a token for each place.

    Args:
        options: of the family.
        blocks: its layers.
        embedding: what tokens go in by.
        head: what tokens come out by.
        norm: after the last layer, where norms stand before the branches; None where they stand after.

    Example:
        >>> options, plain = Body(d_model=32, num_heads=4), config.Residual()
        >>> look, inner = attention(options, plain, causal=False), feed_forward(options, plain)
        >>> block = config.Block(attention=look, feed_forward=inner)
        >>> len(encoder_only(options, [block] * 2, embedding=config.Embedding(), head=config.Head()).main.blocks)
        2
    """
    return config.Transformer(
        vocab_size=options.vocab_size,
        d_model=options.d_model,
        embedding=embedding,
        encoder=config.Stack(blocks=tuple(blocks), final_norm=norm),
        head=head,
        initialization=config.Initialization(std=options.std, scale_residual=norm is not None),
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


def encoder_decoder(
    options: Pair,
    reads: config.Block,
    writes: config.Block,
    *,
    embedding: config.Embedding,
    head: config.Head,
    initialization: config.Initialization,
    norm: config.Norm | None = None,
) -> config.Transformer:
    """An encoder and a decoder of equal layers each.

    Args:
        options: of the family.
        reads: a layer of the encoder.
        writes: a layer of the decoder.
        embedding: what tokens go in by, on both sides.
        head: what tokens come out by.
        initialization: of all weights.
        norm: after the last layer of both, and a dropout after it, where norms stand before the branches; else None.

    Example:
        >>> options, plain = Pair(d_model=32, num_heads=4, vocab_size=9, num_decoder_layers=1), config.Residual()
        >>> look, inner = attention(options, plain, causal=False), feed_forward(options, plain)
        >>> reads = config.Block(attention=look, feed_forward=inner)
        >>> writes = replace(reads, attention=replace(look, causal=True), cross_attention=look)
        >>> parts = {"embedding": config.Embedding(), "head": config.Head(), "initialization": config.Initialization()}
        >>> whole = encoder_decoder(options, reads, writes, **parts)
        >>> len(whole.encoder.blocks), len(whole.decoder.blocks)
        (12, 1)
    """
    dropout = options.dropout if norm is not None else 0.0
    return config.Transformer(
        vocab_size=options.vocab_size,
        d_model=options.d_model,
        embedding=embedding,
        encoder=config.Stack(blocks=(reads,) * options.num_layers, final_norm=norm, dropout=dropout),
        decoder=config.Stack(blocks=(writes,) * options.decoder_layers, final_norm=norm, dropout=dropout),
        head=head,
        initialization=initialization,
    )
