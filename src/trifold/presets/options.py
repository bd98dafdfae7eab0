"""Options and sizes that several families have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trifold.config import Chance, Config, Count, Positive, require

__all__ = [
    "WIDTHS",
    "Activation",
    "Body",
    "LayerType",
    "Layered",
    "Pair",
    "Shape",
    "alternate",
    "by_size",
    "gated_width",
    "require_heads",
    "require_layers",
]

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]
LayerType = Literal["full_attention", "sliding_attention"]
WIDTHS = {"d_model": (128, 256, 512, 640, 768, 1024), "num_heads": (4, 4, 8, 10, 12, 16)}
"""The columns of width and heads, as `by_size` takes them."""


def by_size(columns: Mapping[str, Sequence[int]]) -> dict[str, dict[str, int]]:
    """The options of each size, from one column for each option.

    Example:
        >>> by_size({"num_layers": (2, 4, 6, 8, 12, 24)})["small"]
        {'num_layers': 6}
    """
    names = ("tiny", "mini", "small", "medium", "base", "large")
    rows = zip(*columns.values(), strict=True)
    return {name: dict(zip(columns, row, strict=True)) for name, row in zip(names, rows, strict=True)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape(Config):
    """What one may turn in every family.

    `d_ff` None is four times the width; `tied` False gives the head a matrix of its own.
    """

    num_layers: Count = 12
    d_model: Count = 768
    num_heads: Count = 12
    d_ff: Count | None = None
    vocab_size: Count
    activation: Activation = "gelu"
    tied: bool = True
    dropout: Chance = 0.1

    @property
    def inner(self) -> int:
        """The feed-forward's width."""
        return self.d_ff or 4 * self.d_model

    @property
    def attention_rate(self) -> float:
        """The dropout of attention's weights."""
        return self.dropout

    @property
    def inner_dropout(self) -> float:
        """The dropout within the feed-forward."""
        return 0.0

    @property
    def head_width(self) -> int:
        """The width of a head."""
        return self.d_model // self.num_heads

    @property
    def kv_heads(self) -> int:
        """The number of heads of keys and values."""
        return self.num_heads


@dataclass(frozen=True, kw_only=True, slots=True)
class Body(Shape):
    """What one may turn in every family with one stack; `attention_dropout` None is `dropout`."""

    max_length: Count = 512
    vocab_size: Count = 30522
    std: Positive = 0.02
    attention_dropout: Chance | None = None

    def __post_init__(self) -> None:
        Shape.__post_init__(self)
        if self.heads_share_width:
            require_heads(self.d_model, num_heads=self.num_heads)
        require_layers(self.num_layers)

    @property
    def attention_rate(self) -> float:
        """The dropout of attention's weights."""
        return self.dropout if self.attention_dropout is None else self.attention_dropout

    @property
    def heads_share_width(self) -> bool:
        """Whether the width of a head is that of the model over their number."""
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Layered(Body):
    """What one may turn in every family of gated layers of which some see everything and others a window.

    `layer_types` says for each layer which (`full_attention`, `sliding_attention`); None for what the family does.
    """

    layer_types: tuple[LayerType, ...] | None = None
    mlp_bias: bool = False
    dropout: Chance = 0.0

    def __post_init__(self) -> None:
        Body.__post_init__(self)
        require_layers(self.num_layers, self.layer_types)

    @property
    def kinds(self) -> list[LayerType]:
        """What each layer sees."""
        return list(self.layer_types or self.usual_kinds)

    @property
    def usual_kinds(self) -> tuple[LayerType, ...]:
        """What each layer sees unless the options say otherwise."""
        return ("full_attention",) * self.num_layers


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair(Shape):
    """What one may turn in every family with an encoder and a decoder; `num_decoder_layers` None is `num_layers`."""

    num_decoder_layers: Count | None = None

    def __post_init__(self) -> None:
        Shape.__post_init__(self)
        require_layers(max(self.depth.values()))

    @property
    def depth(self) -> dict[str, int]:
        """The number of layers of each stack."""
        return {"encoder": self.num_layers, "decoder": self.decoder_layers}

    @property
    def decoder_layers(self) -> int:
        """The number of layers of the decoder."""
        return self.num_decoder_layers or self.num_layers


def require_heads(d_model: int, **heads: int | None) -> None:
    """Refuse numbers of heads that do not share the width evenly.

    Args:
        d_model: the width.
        heads: the numbers, by the options that they are; None is left to another option.

    Raises:
        ConfigError: one of them does not divide the width.

    Example:
        >>> require_heads(32, num_heads=4, num_decoder_heads=None)
    """
    for name, number in heads.items():
        allowed = f"a divisor of d_model = {d_model}"
        require(number is None or d_model % number == 0, where=name, given=number, allowed=allowed)


def require_layers(count: int, kinds: Sequence[LayerType] | None = None) -> None:
    """Refuse too many layers, and kinds of layers that are not one for each.

    Raises:
        ConfigError: there are too many, or not as many as kinds.

    Example:
        >>> require_layers(2, ("full_attention", "sliding_attention"))
    """
    require(count <= 1024, where="num_layers", given=count, allowed="1 to 1024")
    each = kinds is None or len(kinds) == count
    require(each, where="layer_types", given=kinds, allowed=f"one for each of {count} layers")


def alternate(count: int, every: int, *, first: int) -> tuple[LayerType, ...]:
    """The kinds of layers of which every `every`th sees everything.

    Args:
        count: the layers.
        every: from one that sees everything to the next.
        first: the first that does.

    Example:
        >>> alternate(3, 2, first=1)
        ('sliding_attention', 'full_attention', 'sliding_attention')
    """
    return tuple("full_attention" if layer % every == first else "sliding_attention" for layer in range(count))


def gated_width(d_model: int) -> int:
    """8/3 of the width, up to the next multiple of 64: three such matrices are as large as two of four times the width.

    Example:
        >>> gated_width(768)
        2048
    """
    return -(-8 * d_model // (3 * 64)) * 64
