"""What runs as C compiled for the user's processor; everything here has a twin in torch, and is used where it fits."""

from trifold.native.activation import activate, gate, gelu_tanh
from trifold.native.attention import Rule, keeps_weights, mix_values, mixes
from trifold.native.compiler import load_library
from trifold.native.dropout import Dropout
from trifold.native.heads import pack_mask
from trifold.native.linear import Linear, bend_product, project
from trifold.native.memory import enlarge_pages, keep_memory
from trifold.native.norm import LayerNorm, RMSNorm
from trifold.native.passes import HALF, Adam, Moved, get_passes, load_passes, uses_passes
from trifold.native.processor import has_matrix_unit, is_intel, multiplies_bfloat16, onednn_multiplies_bfloat16
from trifold.native.product import Bend, load_products
from trifold.native.rotation import rotate

__all__ = [
    "HALF",
    "Adam",
    "Bend",
    "Dropout",
    "LayerNorm",
    "Linear",
    "Moved",
    "RMSNorm",
    "Rule",
    "activate",
    "bend_product",
    "enlarge_pages",
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
    "mix_values",
    "mixes",
    "multiplies_bfloat16",
    "onednn_multiplies_bfloat16",
    "pack_mask",
    "project",
    "rotate",
    "uses_passes",
]
