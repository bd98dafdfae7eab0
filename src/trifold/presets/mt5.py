"""mT5 and umT5: T5 v1.1 for a hundred languages (Xue et al. 2021; Chung et al. 2023).

In umT5 each layer has a bias of positions of its own; in T5 and mT5 all layers of a stack share that of the first.

| size | layers (encoder + decoder) | width | heads | d_ff |
|---|---|---|---|---|
| tiny | 3 + 3 | 128 | 4 | 384 |
| mini | 4 + 4 | 256 | 4 | 704 |
| small | 8 + 8 | 512 | 6 | 1024 (mT5 small) |
| medium | 8 + 8 | 640 | 10 | 1728 |
| base | 12 + 12 | 768 | 12 | 2048 (mT5 base) |
| large | 24 + 24 | 1024 | 16 | 2816 (mT5 large) |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trifold.checkpoint import Entry, KeyMap
from trifold.config import Count, require
from trifold.model import config
from trifold.presets import t5, t5_v1_1
from trifold.presets.options import Activation

__all__ = ["MT5", "UMT5", "Options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(t5.Options):
    """What one may turn: as in T5."""

    d_ff: Count | None = 2048
    vocab_size: Count = 250112
    gated: bool = True
    activation: Activation = "gelu_tanh"
    tied: bool = False
    scale_output: bool | None = False


SIZES = {name: {key: options[key] for key in ("num_layers", "d_model", "num_heads", "d_ff", "head_size") if key in options}
         for name, options in t5_v1_1.SIZES.items()}  # fmt: skip
SIZES["small"] = {"num_layers": 8, "d_model": 512, "num_heads": 6, "d_ff": 1024}


def build(options: Options) -> config.Transformer:
    """The configuration of mT5, whose class knows no scaled output."""
    require(not options.scaled, where="scale_output", given=True, allowed="false")
    return t5.build(options)


def build_apart(options: Options) -> config.Transformer:
    """The configuration of umT5."""
    shape = t5.build(options)
    assert shape.encoder
    assert shape.decoder
    return replace(shape, encoder=_apart(shape.encoder), decoder=_apart(shape.decoder))


def _apart(stack: config.Stack) -> config.Stack:
    """The same stack, each layer with positions of its own."""
    blocks = []
    for layer, block in enumerate(stack.blocks):
        position = replace(block.attention.position, table=layer)  # type: ignore[type-var]
        blocks.append(replace(block, attention=replace(block.attention, position=position)))
    return replace(stack, blocks=tuple(blocks))


def keys_apart(options: Options) -> KeyMap:
    """The key table of umT5."""
    table = t5.keys(options)
    more = [
        Entry(t5.BIAS.format(stack, layer), (f"{stack}.positions.{layer}.table.weight",))
        for stack, layers in options.depth.items()
        for layer in range(1, layers)
    ]
    return replace(table, entries=(*table.entries, *more))


def read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the options that are no field under another name; the output is never scaled."""
    return t5.read({**fields, "scale_decoder_outputs": False})


SIZE = {"d_ff": 1024, "num_layers": 8, "num_heads": 6, "vocab_size": 250112}
FIELDS = t5.FIELDS.with_values({**SIZE, "feed_forward_proj": "gated-gelu"})
UMT5 = replace(t5.PRESET, name="umt5", model_type="umt5", architecture="UMT5ForConditionalGeneration", options=Options,
               sizes=SIZES, build=build_apart, keys=keys_apart, fields=FIELDS)  # fmt: skip
MT5 = replace(UMT5, name="mt5", model_type="mt5", architecture="MT5ForConditionalGeneration", build=build, keys=t5.keys,
              read=read)  # fmt: skip
