"""Qwen3: Llama's shape and sizes with a norm of each head's queries and keys (Yang et al. 2025)."""

from dataclasses import replace

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.model import config
from trifold.presets import llama, qwen2
from trifold.presets.field import Fields
from trifold.presets.task_class import decoder_classes

__all__ = ["PRESET", "build", "keys"]


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


BIASES = Fields(alike={"attention_bias": (("qkv_bias", "output_bias"), False)}, held={"mlp_bias": False})
FIELDS = replace(qwen2.FIELDS.with_values({"head_dim": 128}), held={}) | BIASES


PRESET = replace(
    qwen2.PRESET,
    name="qwen3",
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    sizes=llama.SIZES,
    build=build,
    keys=keys,
    fields=FIELDS,
    classes=decoder_classes("Qwen3", "model.", asks="transformer."),
)
