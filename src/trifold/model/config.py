"""What a Transformer is made of, as frozen values: a part varies by replacing its configuration, never by a flag's case.

Equal position configurations within one stack share one module (T5's single bias table, ModernBERT's two rotary bases).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from trifold.config import TAGGED, Chance, Config, Count, Natural, Positive, require

__all__ = [
    "Attention",
    "Block",
    "Embedding",
    "FeedForward",
    "FrequencyScaling",
    "Head",
    "Initialization",
    "LayerNorm",
    "Learned",
    "Norm",
    "OffsetRMSNorm",
    "RMSNorm",
    "RelativeBias",
    "Residual",
    "Rotary",
    "Sinusoidal",
    "Stack",
    "Transformer",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned(Config):
    """A trained vector for each position; `offset` rows stand before position 0 (RoBERTa keeps 2)."""

    kind: Literal["learned"] = "learned"
    max_length: Count
    offset: Natural = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sinusoidal(Config):
    """Fixed sines (first half) and cosines (second half), Vaswani et al. 2017, section 3.5."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    max_length: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class FrequencyScaling(Config):
    """Stretches low rotary frequencies by `factor`, to read further than the model was first trained (Dubey 2024)."""

    factor: Positive
    low_freq_factor: Positive
    high_freq_factor: Positive
    original_max_length: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotary(Config):
    """Rotates pairs of query and key by an angle that grows with the position (Su et al. 2021)."""

    kind: Literal["rotary"] = "rotary"
    base: Positive = 10_000.0
    scaling: FrequencyScaling | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RelativeBias(Config):
    """A trained number per head and bucket of distance, added to the scores (Raffel et al. 2020, section 2.1).

    `table`: number of the table; layers of a stack with different numbers share none (umT5).
    """

    kind: Literal["relative_bias"] = "relative_bias"
    num_buckets: Count = 32
    max_distance: Count = 128
    bidirectional: bool
    table: Natural = 0

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        require(self.num_buckets >= 4, where="num_buckets", given=self.num_buckets, allowed="4 or more")
        least = self.num_buckets // 2 + 1  # nearer distances have a bucket each
        require(self.max_distance >= least, where="max_distance", given=self.max_distance, allowed=f"{least} or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerNorm(Config):
    """Layer normalisation (Ba et al. 2016)."""

    kind: Literal["layer_norm"] = "layer_norm"
    eps: Positive = 1e-5
    bias: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class RMSNorm(Config):
    """Root-mean-square normalisation (Zhang and Sennrich 2019)."""

    kind: Literal["rms_norm"] = "rms_norm"
    eps: Positive = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class OffsetRMSNorm(Config):
    """The same with `1 + weight` for its weight, so that a weight of 0 changes nothing."""

    kind: Literal["offset_rms_norm"] = "offset_rms_norm"
    eps: Positive = 1e-6


Norm = Annotated[LayerNorm | RMSNorm | OffsetRMSNorm, TAGGED]
Position = Annotated[Rotary | RelativeBias, TAGGED]
Activation = Literal["identity", "relu", "gelu", "gelu_tanh", "silu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual(Config):
    """Norms around a branch, `post(x + branch_norm(branch(pre(x))))`; an absent norm (None) is the identity."""

    pre_norm: Norm | None = None
    branch_norm: Norm | None = None
    post_norm: Norm | None = None
    dropout: Chance = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention(Config):
    """Multi-head attention; `num_kv_heads < num_heads` is grouped-query attention.

    `window`: farthest distance between a query and a key it sees, None for no limit. `scale`: what scores are
    multiplied by, None for `1 / sqrt(head_size)`. `head_norm`: of each head's queries and keys, before they are rotated
    (Henry et al. 2020); None for none.
    """

    num_heads: Count
    num_kv_heads: Count
    head_size: Count
    causal: bool
    window: Natural | None = None
    position: Position | None = None
    qkv_bias: bool = True
    output_bias: bool = True
    scale: float | None = None
    head_norm: Norm | None = None
    dropout: Chance = 0.0
    residual: Residual = Residual()

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        divides = self.num_heads % self.num_kv_heads == 0
        require(divides, where="num_kv_heads", given=self.num_kv_heads, allowed=f"a divisor of {self.num_heads}")
        even = not isinstance(self.position, Rotary) or self.head_size % 2 == 0
        require(even, where="head_size", given=self.head_size, allowed="an even number with rotary positions")


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedForward(Config):
    """`down(activation(up(x)))`, or gated `down(activation(gate(x)) * up(x))` (Shazeer 2020)."""

    d_ff: Count
    activation: Activation
    gated: bool = False
    bias: bool = True
    dropout: Chance = 0.0
    residual: Residual = Residual()


@dataclass(frozen=True, kw_only=True, slots=True)
class Block(Config):
    """Attention, cross-attention (None where the stack reads no memory) and feed-forward.

    `shared`: a number, so that equal layers of a stack are one block, with one set of weights (Lan et al. 2020, section
    3.1); None: the layer has weights of its own.
    """

    attention: Attention
    cross_attention: Attention | None = None
    feed_forward: FeedForward
    shared: Natural | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack(Config):
    """Blocks one after another, a last norm (None for none) and dropout."""

    blocks: tuple[Block, ...]
    final_norm: Norm | None = None
    dropout: Chance = 0.0

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        some = 1 <= len(self.blocks) <= 1024
        require(some, where="num_layers", given=len(self.blocks), allowed="1 to 1024")


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding(Config):
    """Token vectors times `scale`, plus positions and segments, normed; `num_segments` 0 means no segments.

    `width`: of all these vectors, which a matrix brings to `d_model` (Lan et al. 2020); None: `d_model`, and no matrix.
    `padding`: the token whose vector is zero and stays so, as Marian's decoder starts from it; None: all are trained.
    """

    position: Annotated[Learned | Sinusoidal, TAGGED] | None = None
    width: Count | None = None
    scale: float = 1.0
    padding: Natural | None = None
    num_segments: Natural = 0
    norm: Norm | None = None
    dropout: Chance = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Head(Config):
    """Hidden states to logits: `weight (norm(activation(dense x)) * scale) + bias`; None `activation`: no dense part."""

    tied: bool = True
    bias: bool = False
    scale: float = 1.0
    activation: Activation | None = None
    dense_bias: bool = True
    norm: Norm | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Initialization(Config):
    """How weights start: `normal` N(0, std); `xavier` Glorot uniform; `fan_in` by each matrix's input width (T5).

    `scale_residual`: divide the std of projections into the residual stream by `sqrt(2 num_layers)` (GPT-2).
    """

    kind: Literal["normal", "xavier", "fan_in"] = "normal"
    std: Positive = 0.02
    scale_residual: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Transformer(Config):
    """An encoder, a decoder or both over one embedding, with a language-model head.

    `decoder_embedding`: how tokens enter a decoder that has positions of its own, None for as in the encoder; the vectors
    of tokens are the same. `start`: the special token that a decoder behind an encoder begins with.

    Raises:
        ConfigError: a size out of range, or neither encoder nor decoder.
    """

    vocab_size: Count
    d_model: Count
    embedding: Embedding
    encoder: Stack | None = None
    decoder: Stack | None = None
    decoder_embedding: Embedding | None = None
    start: Literal["pad", "eos"] = "pad"
    head: Head = Head()
    initialization: Initialization = Initialization()

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        some = self.encoder is not None or self.decoder is not None
        require(some, where="encoder, decoder", given=None, allowed="at least one of the two")
        back = self.embedding.width is None or self.head.activation is not None
        require(back, where="head.activation", given=None, allowed="one, as the embedding has a width of its own")

    @property
    def max_length(self) -> int | None:
        """Most tokens that one document may have; None where positions have no limit."""
        return self.embedding.position.max_length if self.embedding.position else None

    @property
    def main(self) -> Stack:
        """The stack that the head reads: the decoder, or the encoder where there is no decoder."""
        stack = self.decoder or self.encoder
        assert stack is not None
        return stack
