"""Mistral: Llama's shape with a sliding window (Jiang et al. 2023); its sizes are Llama's, with a window of 512 tokens."""

from dataclasses import replace

from trifold.presets import llama
from trifold.presets.field import Fields
from trifold.presets.task_class import decoder_classes

__all__ = ["PRESET"]

SIZE = {"num_key_value_heads": 8, "intermediate_size": 14336, "max_position_embeddings": 131072}
HELD = {"qkv_bias": False, "output_bias": False, "mlp_bias": False, "layer_types": None}
FIELDS = llama.FIELDS.with_values(SIZE) | Fields(renamed={"sliding_window": ("window", 4096)}, held=HELD)

PRESET = replace(
    llama.PRESET,
    name="mistral",
    model_type="mistral",
    architecture="MistralForCausalLM",
    sizes={name: {**size, "window": 512} for name, size in llama.SIZES.items()},
    fields=FIELDS,
    small={**llama.PRESET.small, "sliding_window": 4},
    classes=decoder_classes("Mistral", "model."),
)
