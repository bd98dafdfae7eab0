"""Qwen2: Llama's shape and sizes with biases on queries, keys and values (Yang et al. 2024).

Some layers may have a window.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trifold.presets import llama
from trifold.presets.field import Fields, refuse_unless
from trifold.presets.rotary import read_layer_types, read_rotary, write_rotary
from trifold.presets.task_class import decoder_classes

__all__ = ["FIELDS", "PRESET", "read", "write"]

SIZE = {"vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32, "max_position_embeddings": 32768}
FIELDS = llama.FIELDS.with_values(SIZE) | Fields(
    joined={"sliding_window": ("window", 4096)},
    held={"qkv_bias": True, "output_bias": False, "mlp_bias": False},
    others={"use_sliding_window": False, "max_window_layers": 28, "layer_types": None},
)


def write(options: llama.Options) -> dict[str, Any]:
    """The rest of Hugging Face's configuration."""
    first = next((layer for layer, kind in enumerate(options.kinds) if kind == "sliding_attention"), options.num_layers)
    return {
        **write_rotary(options),
        "use_sliding_window": options.window is not None,
        "sliding_window": options.window,
        "layer_types": options.kinds,
        "max_window_layers": first,
    }


def read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the options that are no field under another name."""
    turned, count, first = fields["use_sliding_window"], fields["num_hidden_layers"], fields["max_window_layers"]
    refuse_unless(isinstance(turned, bool), "use_sliding_window", turned, "true, false")
    window, kinds = fields["sliding_window"] if turned else None, fields["layer_types"]
    if kinds is None:
        refuse_unless(type(count) is int and 1 <= count <= 1024, "num_hidden_layers", count, "1 to 1024")
        refuse_unless(type(first) is int, "max_window_layers", first, "a whole number")
        full = count if window is None else min(max(first, 0), count)
        kinds = ["full_attention"] * full + ["sliding_attention"] * (count - full)
    kinds = read_layer_types(kinds, count)
    some = "sliding_attention" in kinds
    refuse_unless(
        window is not None or not some, "layer_types", kinds, "full_attention where no sliding_window is used"
    )
    mixed = kinds if some and "full_attention" in kinds else None
    return {**read_rotary(fields), "window": window if some else None, "layer_types": mixed}


PRESET = replace(
    llama.PRESET,
    name="qwen2",
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    sizes={name: {**size, "qkv_bias": True} for name, size in llama.SIZES.items()},
    fields=FIELDS,
    write=write,
    read=read,
    small={**llama.PRESET.small, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    classes=decoder_classes("Qwen2", "model.", asks="transformer."),
    rebuilt=True,
)
