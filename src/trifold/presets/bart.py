"""BART: an encoder-decoder with learned positions and post-norm (Lewis et al. 2020).

Encoder and decoder share the vectors of tokens; positions and the norm after them are each stack's own.

| size | layers (encoder + decoder) | width | heads | d_ff |
|---|---|---|---|---|
| tiny | 2 + 2 | 128 | 4 | 512 |
| mini | 4 + 4 | 256 | 4 | 1024 |
| small | 6 + 6 | 256 | 8 | 1024 |
| medium | 6 + 6 | 512 | 8 | 2048 |
| base | 6 + 6 | 768 | 12 | 3072 (BART base) |
| large | 12 + 12 | 1024 | 16 | 4096 (BART large) |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from trifold.checkpoint import Entry, KeyMap, paired
from trifold.config import Chance, Count, require
from trifold.model import config
from trifold.presets import marian
from trifold.presets.field import Fields
from trifold.presets.options import Activation, by_size
from trifold.presets.preset import Preset

__all__ = ["PRESET", "STACKS", "Options", "build_around", "keys"]

BIAS, STACKS = "final_logits_bias", ("encoder", "decoder")
OFFSET = 2
"""Rows of the table of positions that stand before position 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(marian.Options):
    """What one may turn: as in Marian, and whether the head adds a number to each logit, which published models do not."""

    d_model: Count = 768
    num_heads: Count = 12
    vocab_size: Count = 50265
    activation: Activation = "gelu"
    scale_embedding: bool = False
    activation_dropout: Chance = 0.0
    logits_bias: bool = False

    @property
    def inner_dropout(self) -> float:
        """The dropout within the feed-forward."""
        return self.activation_dropout

    def __post_init__(self) -> None:
        marian.Options.__post_init__(self)
        require(self.pad is None, where="pad", given=self.pad, allowed="null: no vector is held at zero")


COLUMNS = {
    "num_layers": (2, 4, 6, 6, 6, 12), "d_model": (128, 256, 256, 512, 768, 1024), "num_heads": (4, 4, 8, 8, 12, 16),
}  # fmt: skip


def build(options: Options) -> config.Transformer:
    """The configuration."""
    return build_around(options, config.Residual(post_norm=config.LayerNorm(), dropout=options.dropout))


def build_around(options: Options, residual: config.Residual) -> config.Transformer:
    """The configuration with other norms around the branches."""
    shape = marian.build_around(options, residual)
    position = config.Learned(max_length=options.max_length, offset=OFFSET)
    entry = replace(shape.embedding, position=position, norm=config.LayerNorm())
    return replace(
        shape,
        embedding=entry,
        decoder_embedding=entry,
        start="eos",
        head=config.Head(tied=options.tied, bias=options.logits_bias),
        initialization=config.Initialization(std=options.std),
    )


def keys(options: Options) -> KeyMap:
    """The key table."""
    entries = [entry for entry in marian.keys(options).entries if options.logits_bias or entry.theirs != BIAS]
    for stack, ours in zip(STACKS, ("embedding", "decoder_embedding"), strict=True):
        entries.append(Entry(f"model.{stack}.embed_positions.weight", (f"{ours}.position.weight",)))
        entries += paired({f"{ours}.norm": f"model.{stack}.layernorm_embedding"})
    return KeyMap(tuple(entries), frozenset({BIAS}))


def settle(options: Options, theirs: Mapping[str, Tensor]) -> Options:
    """The options with a bias of the logits where the file has one other than zero."""
    bias = theirs.get(BIAS)
    return options if bias is None or not bool(bias.any()) else replace(options, logits_bias=True)


FIELDS = replace(
    marian.FIELDS.without("pad_token_id").with_values({"vocab_size": 50265}),
    fixed={"tie_word_embeddings": (True,), "is_encoder_decoder": (True,)},
    published={
        "normalize_embedding": True,
        "normalize_before": False,
        "add_final_layer_norm": False,
    },  # CTranslate2 asks
    silent=frozenset({"decoder_layerdrop", "encoder_layerdrop", "is_decoder"}),
) | Fields(renamed={"activation_dropout": ("activation_dropout", 0.0)})


PRESET = Preset(
    name="bart",
    model_type="bart",
    architecture="BartForConditionalGeneration",
    options=Options,
    sizes=by_size(COLUMNS),
    build=build,
    keys=keys,
    fields=FIELDS,
    objective="infilling",
    of_weights=settle,
)
