"""What runs as C compiled for the user's processor; everything here has a twin in torch, and is used where it fits."""

from trifold.native.activation import activate, gate, gelu_tanh
from trifold.native.attention import Rule, keeps_weights, mix_values, mixes
from trifold.native.compiler import load_library, trusted
from trifold.native.dropout import dropout
from trifold.native.heads import pack_mask
from trifold.native.linear import fits_product, multiply
from trifold.native.memory import enlarge_pages, keep_memory, memory_kept
from trifold.native.norm import norm
from trifold.native.passes import HALF, get_passes, load_passes, uses_passes
from trifold.native.processor import (
    cores,
    has_matrix_unit,
    is_intel,
    multiplies_bfloat16,
    multiplies_int8,
    onednn_multiplies_bfloat16,
)
from trifold.native.product import Activation, load_products
from trifold.native.rotation import rotate
from trifold.native.structures import Adam, Moved

__all__ = [
    "HALF",
    "Activation",
    "Adam",
    "Moved",
    "Rule",
    "activate",
    "cores",
    "dropout",
    "enlarge_pages",
    "fits_product",
    "gate",
    "gelu_tanh",
    "get_passes",
    "has_matrix_unit",
    "is_intel",
    "keep_memory",
    "keeps_weights",
    "load_library",
    "load_passes",
    "load_products",
    "memory_kept",
    "mix_values",
    "mixes",
    "multiplies_bfloat16",
    "multiplies_int8",
    "multiply",
    "norm",
    "onednn_multiplies_bfloat16",
    "pack_mask",
    "rotate",
    "trusted",
    "uses_passes",
]
