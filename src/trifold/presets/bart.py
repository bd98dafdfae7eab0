"""BART (Lewis et al. 2020), and mBART, which has its norms before the branches and one after each stack (Liu et al. 2020).

Encoder and decoder share the vectors of tokens; positions and the norm after them are each stack's own.

| size | layers (encoder + decoder) | width | heads | d_ff |
|---|---|---|---|---|
| tiny | 2 + 2 | 128 | 4 | 512 |
| mini | 4 + 4 | 256 | 4 | 1024 |
| small | 6 + 6 | 256 | 8 | 1024 |
| medium | 6 + 6 | 512 | 8 | 2048 |
| base | 6 + 6 | 768 | 12 | 3072 (BART base) |
| large | 12 + 12 | 1024 | 16 | 4096 (BART large, mBART) |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from trifold.checkpoint import Entry, KeyMap
from trifold.config import Chance, Count, require
from trifold.model import config
from trifold.presets import marian
from trifold.presets.preset import Preset

__all__ = ["BART", "MBART", "Options"]

BIAS, STACKS = "final_logits_bias", ("encoder", "decoder")
NORMS = ("normalize_before", "add_final_layer_norm")
"""Fields that are in published files, which transformers leaves alone and CTranslate2 asks for."""
OFFSET = 2
"""Rows of the table of positions that stand before position 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(marian.Options):
    """What one may turn: as in Marian, and whether the head adds a number to each logit, which published models do not."""

    d_model: Count = 768
    num_heads: Count = 12
    vocab_size: Count = 50265
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "gelu"
    scale_embedding: bool = False
    activation_dropout: Chance = 0.0
    logits_bias: bool = False

    def __post_init__(self) -> None:
        marian.Options.__post_init__(self)
        require(self.pad is None, where="pad", given=self.pad, allowed="null: no vector is held at zero")


SIZES = {**marian.SIZES, "medium": {"num_layers": 6, "d_model": 512, "num_heads": 8},
         "base": {"num_layers": 6, "d_model": 768, "num_heads": 12},
         "large": {"num_layers": 12, "d_model": 1024, "num_heads": 16}}  # fmt: skip


def build(options: Options) -> config.Transformer:
    """The configuration of BART."""
    return _build(options, config.Residual(post_norm=config.LayerNorm(), dropout=options.dropout), None)


def build_pre_norm(options: Options) -> config.Transformer:
    """The configuration of mBART."""
    return _build(options, config.Residual(pre_norm=config.LayerNorm(), dropout=options.dropout), config.LayerNorm())


def _build(options: Options, residual: config.Residual, last: config.LayerNorm | None) -> config.Transformer:
    """Marian's shape with the learned places and the norms of this family."""

    def change(stack: config.Stack | None) -> config.Stack:
        assert stack is not None
        blocks = [
            replace(
                block,
                attention=replace(block.attention, residual=residual),
                cross_attention=block.cross_attention and replace(block.cross_attention, residual=residual),
                feed_forward=replace(block.feed_forward, residual=residual, dropout=options.activation_dropout),
            )
            for block in stack.blocks
        ]
        return replace(stack, blocks=tuple(blocks), final_norm=last)

    shape = marian.build(options)
    position = config.Learned(max_length=options.max_length, offset=OFFSET)
    entry = replace(shape.embedding, position=position, norm=config.LayerNorm())
    return replace(
        shape,
        embedding=entry,
        decoder_embedding=entry,
        start="eos",
        encoder=change(shape.encoder),
        decoder=change(shape.decoder),
        head=config.Head(tied=options.tied, bias=options.logits_bias),
        initialization=config.Initialization(std=options.std),
    )


def keys(options: Options) -> KeyMap:
    """The key table of BART."""
    entries = [one for one in marian.keys(options).entries if options.logits_bias or one.theirs != BIAS]
    for stack, ours in zip(STACKS, ("embedding", "decoder_embedding"), strict=True):
        entries.append(Entry(f"model.{stack}.embed_positions.weight", (f"{ours}.position.weight",)))
        entries += [
            Entry(f"model.{stack}.layernorm_embedding.{kind}", (f"{ours}.norm.{kind}",)) for kind in ("weight", "bias")
        ]
    return KeyMap(tuple(entries), frozenset({BIAS}))


def keys_pre_norm(options: Options) -> KeyMap:
    """The key table of mBART."""
    table = keys(options)
    entries = [
        replace(one, ours=tuple(name.replace("post_norm", "pre_norm") for name in one.ours)) for one in table.entries
    ]
    entries += [
        Entry(f"model.{stack}.layer_norm.{kind}", (f"{stack}.final_norm.{kind}",))
        for stack in STACKS
        for kind in ("weight", "bias")
    ]
    return replace(table, entries=tuple(entries))


def settle(options: Options, theirs: Mapping[str, Tensor]) -> Options:
    """The options with a bias of the logits where the file has one other than zero."""
    found = theirs.get(BIAS)
    return options if found is None or not bool(found.any()) else replace(options, logits_bias=True)


FIELDS = replace(
    marian.FIELDS,
    defaults={**{name: value for name, value in marian.FIELDS.defaults.items() if name != "pad_token_id"},
              "vocab_size": 50265, "activation_dropout": 0.0},
    plain={**{name: option for name, option in marian.FIELDS.plain.items() if name != "pad_token_id"},
           "activation_dropout": "activation_dropout"},
    fixed={"tie_word_embeddings": (True,), "is_encoder_decoder": (True,)},
    silent=frozenset({"decoder_layerdrop", "encoder_layerdrop", "is_decoder", "add_final_layer_norm", "normalize_before",
                      "normalize_embedding"}),
)  # fmt: skip


def write(options: Options) -> dict[str, object]:
    """The rest of Hugging Face's configuration."""
    own = {
        name: value
        for name, value in marian.write(options).items()
        if name not in ("decoder_vocab_size", "activation_dropout")
    }
    return {**own, "normalize_embedding": True, **dict.fromkeys(NORMS, False)}


def write_pre_norm(options: Options) -> dict[str, object]:
    """The rest of the configuration of mBART."""
    return {**write(options), **dict.fromkeys(NORMS, True)}


BART = Preset(
    name="bart",
    model_type="bart",
    architecture="BartForConditionalGeneration",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=keys,
    fields=FIELDS,
    write=write,
    prefix="model.",
    table="model.shared.weight",
    output="lm_head.weight",
    objective="infilling",
    of_weights=settle,
)
MBART = replace(BART, name="mbart", model_type="mbart", architecture="MBartForConditionalGeneration", build=build_pre_norm,
                keys=keys_pre_norm, write=write_pre_norm,
                sizes={name: {**size, "scale_embedding": True} for name, size in SIZES.items()})  # fmt: skip
