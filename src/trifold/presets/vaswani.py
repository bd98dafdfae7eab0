"""The article that this project follows, made runnable: its Transformer with what its listing leaves out.

The family itself, under Marian's names, is in `marian.py`; `docs/article.md` goes through the listing.
"""

from trifold.presets.pretrained import Transformer

__all__ = ["from_article"]


def from_article(
    *, vocab_size: int = 10_000, embed_dim: int = 512, num_heads: int = 8, num_layers: int = 2
) -> Transformer:
    """The article's Transformer made whole: with positions, a causal mask, cross-attention and an activation.

    Args:
        vocab_size: tokens in the vocabulary.
        embed_dim: width.
        num_heads: heads of every attention.
        num_layers: layers of the encoder, and of the decoder.

    Example:
        >>> model = from_article(vocab_size=100, embed_dim=32, num_heads=4, num_layers=1)
        >>> print(model.summary().splitlines()[-2])
        Total params: 32,996
    """
    options = {"vocab_size": vocab_size, "d_model": embed_dim, "num_heads": num_heads, "num_layers": num_layers}
    return Transformer.from_preset("vaswani", size="base", **options)
