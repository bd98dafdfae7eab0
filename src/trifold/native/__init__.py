"""What runs as C compiled for the user's own processor; everything here has a twin in torch and is used only where it fits."""

from trifold.native.activation import gelu_tanh
from trifold.native.attention import BLOCK, Rule, mix_values
from trifold.native.compiler import load_library
from trifold.native.linear import Linear
from trifold.native.memory import keep_memory
from trifold.native.norm import LayerNorm, RMSNorm
from trifold.native.passes import load_passes, uses_passes

__all__ = [
    "BLOCK",
    "LayerNorm",
    "Linear",
    "RMSNorm",
    "Rule",
    "gelu_tanh",
    "keep_memory",
    "load_library",
    "load_passes",
    "mix_values",
    "uses_passes",
]
