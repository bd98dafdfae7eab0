"""T5 v1.1: T5 with a gated GELU and a head of its own (Shazeer 2020; Raffel et al. 2020)."""

from dataclasses import replace

from trifold.presets import t5
from trifold.presets.options import gated_width

__all__ = ["PRESET", "SIZES"]

OWN = {"gated": True, "activation": "gelu_tanh", "tied": False}
SIZES = {name: {**size, **OWN, "d_ff": gated_width(size["d_model"])} for name, size in t5.SIZES.items()}
PRESET = replace(t5.PRESET, name="t5_v1_1", sizes=SIZES)
