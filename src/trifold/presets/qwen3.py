"""Qwen3: Llama's shape and sizes with a norm of each head's queries and keys (Yang et al. 2025)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.model import config
from trifold.presets import llama, qwen2
from trifold.presets.field import Fields
from trifold.presets.task_class import decoder_classes

__all__ = ["PRESET", "build", "keys", "read", "write"]


def build(options: llama.Options) -> config.Transformer:
    """The configuration."""
    plain, norm = llama.build(options), config.RMSNorm(eps=options.eps)
    blocks = tuple(replace(block, attention=replace(block.attention, head_norm=norm)) for block in plain.main.blocks)
    return replace(plain, decoder=replace(plain.main, blocks=blocks))


def keys(options: llama.Options) -> KeyMap:
    """The key table."""
    plain, theirs, branch = llama.keys(options), "model.layers.{}.self_attn.", "decoder.blocks.{}.attention.branch."
    norms = [Entry(f"{theirs}{name}_norm.weight", (f"{branch}{name}_norm.weight",)) for name in "qk"]
    return replace(plain, entries=(*plain.entries, *numbered(norms, options.num_layers)))


FIELDS = qwen2.FIELDS.with_values({"head_dim": 128}) | Fields(renamed={"attention_bias": ("qkv_bias", False)})


def write(options: llama.Options) -> dict[str, Any]:
    """The rest of Hugging Face's configuration."""
    return {**llama.write_biases(options), **qwen2.write_windows(options)}


def read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the options that are no field under another name."""
    return {**llama.read_biases(fields), **qwen2.read_windows(fields)}


PRESET = replace(
    qwen2.PRESET,
    name="qwen3",
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    sizes=llama.SIZES,
    build=build,
    keys=keys,
    fields=FIELDS,
    write=write,
    read=read,
    classes=decoder_classes("Qwen3", "model.", asks="transformer."),
)
