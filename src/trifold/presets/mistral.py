"""Mistral: Llama's shape with a sliding window (Jiang et al. 2023); its sizes are Llama's, with a window of 512 tokens."""

from dataclasses import replace
from typing import Any

from trifold.presets import llama
from trifold.presets.field import Fields, refuse_unless
from trifold.presets.rotary import read_rotary
from trifold.presets.task_class import decoder_classes

__all__ = ["PRESET", "write"]

SIZE = {"num_key_value_heads": 8, "intermediate_size": 14336, "max_position_embeddings": 131072}
FIELDS = llama.FIELDS.with_values(SIZE) | Fields(renamed={"sliding_window": ("window", 4096)})


def write(options: llama.Options) -> dict[str, Any]:
    """The rest of Hugging Face's configuration."""
    plain = not (options.qkv_bias or options.output_bias or options.mlp_bias or options.layer_types)
    refuse_unless(plain, "qkv_bias, output_bias, mlp_bias, layer_types", True, "false with preset mistral")
    return llama.write(options)


PRESET = replace(
    llama.PRESET,
    name="mistral",
    model_type="mistral",
    architecture="MistralForCausalLM",
    sizes={name: {**size, "window": 512} for name, size in llama.SIZES.items()},
    fields=FIELDS,
    write=write,
    read=read_rotary,
    small={**llama.SMALL, "sliding_window": 4},
    classes=decoder_classes("Mistral", "model."),
)
