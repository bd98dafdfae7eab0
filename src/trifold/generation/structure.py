"""What our kernel knows of a block of a decoder: the structures of `block.c`, field by field, with bare addresses."""

import ctypes
from ctypes import c_double, c_int64, c_void_p
from typing import get_args

import torch
from torch import Tensor, nn

from trifold.acceleration.linear import FastLinear
from trifold.acceleration.simple import FastLayerNorm, FastRMSNorm
from trifold.acceleration.twins import TWINS
from trifold.generation.kernel import MOST_INPUTS
from trifold.generation.linear import Int8Linear, StreamedLinear
from trifold.model import Attention, Block, FeedForward, Residual, config
from trifold.model.block import build_activation
from trifold.model.norm import OffsetRMSNorm

__all__ = ["BlockStructure", "describe"]

FORMATS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}
ACTIVATIONS = get_args(config.Activation)
NORMS = {nn.Identity: 0, nn.LayerNorm: 1, FastLayerNorm: 1, nn.RMSNorm: 2, FastRMSNorm: 2, OffsetRMSNorm: 3}
LINEAR = (nn.Linear, FastLinear, StreamedLinear, Int8Linear)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj")


class _Product(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("format", "inputs", "outputs")),
        *((name, c_void_p) for name in ("weight", "scale", "bias")),
    ]


class _Norm(ctypes.Structure):
    _fields_ = [("kind", c_int64), ("eps", c_double), ("weight", c_void_p), ("bias", c_void_p)]


class _Norms(ctypes.Structure):
    _fields_ = [(name, _Norm) for name in ("before", "branch", "after")]


class BlockStructure(ctypes.Structure):
    """One block. Its addresses are those of the weights where they lie now: it is void once they move."""

    _fields_ = [
        *((name, c_int64) for name in ("half", "width", "heads", "kv_heads", "head_size", "activation")),
        ("scale", c_double),
        *((name, _Norms) for name in ("attention", "feed_forward")),
        *((name, _Norm) for name in ("q_norm", "k_norm")),
        *((name, _Product) for name in PROJECTIONS),
    ]


def describe(block: Block) -> BlockStructure | None:
    """The structure of a block; None where the kernel cannot compute it.

    It can where only a decoder's own tokens are read, positions are rotated or not the block's matter, and weights lie
    row by row on the CPU: norms and biases all in float32 or all in bfloat16, matrices like them or in eight bits.

    Example:
        >>> attention = config.Attention(num_heads=2, num_kv_heads=1, head_size=4, causal=True)
        >>> block = Block(config.Block(attention=attention, feed_forward=config.FeedForward(d_ff=16, activation="silu")), 8)
        >>> structure = describe(block)
        >>> structure.heads, structure.width, structure.up_proj.outputs, structure.gate_proj.weight
        (2, 8, 16, None)
    """
    if not _holds_usual_parts(block):
        return None
    attention, activation = block.config.attention, block.config.feed_forward.activation
    own = block.cross_attention is None and attention.causal and isinstance(attention.position, config.Rotary | None)
    linear = [getattr(residual.branch, name) for residual, names in _branches(block) for name in names]
    norms = [[residual.pre_norm, residual.branch_norm, residual.post_norm] for residual, _ in _branches(block)]
    heads = [getattr(block.attention.branch, name) for name in ("q_norm", "k_norm")]
    known = all(type(norm) in NORMS for group in [*norms, heads] for norm in group)
    if not (own and known and all(map(_is_readable, linear))):
        return None
    formats = {x.dtype for x in block.parameters()}
    if formats not in ({torch.float32}, {torch.bfloat16}):
        return None
    shape = attention.num_heads, attention.num_kv_heads, attention.head_size
    scale = attention.head_size**-0.5 if attention.scale is None else attention.scale
    parts = [*(_Norms(*map(_norm, group)) for group in norms), *map(_norm, heads), *map(_product, linear)]
    half, width = formats == {torch.bfloat16}, linear[0].in_features
    return BlockStructure(half, width, *shape, ACTIVATIONS.index(activation), scale, *parts)


def _branches(block: Block) -> tuple[tuple[Residual, tuple[str, ...]], ...]:
    return (block.attention, PROJECTIONS[:4]), (block.feed_forward, PROJECTIONS[4:])


def _holds_usual_parts(block: Block) -> bool:
    """Whether what holds the products and norms together is of a kind that the kernel knows; others may compute more."""
    pairs = (block.attention, Attention), (block.feed_forward, FeedForward)
    known = all(
        _is(pair, Residual) and _is(pair.branch, kind) and _is(pair.dropout, nn.Dropout) for pair, kind in pairs
    )
    if not known or any("forward" in part.__dict__ for part in block.modules()):
        return False
    feed = block.feed_forward.branch
    assert isinstance(feed, FeedForward)
    return _is(feed.dropout, nn.Dropout) and _is_named(feed.activation, block.config.feed_forward.activation)


def _is(part: nn.Module, kind: type[nn.Module]) -> bool:
    return type(part) in (kind, TWINS[kind])


def _is_named(activation: nn.Module, name: config.Activation) -> bool:
    """Whether it is the activation that the configuration names, with its settings."""
    named = build_activation(name)
    kinds = (type(named), TWINS.get(type(named)))
    return type(activation) in kinds and activation.extra_repr() == named.extra_repr()


def _is_readable(linear: nn.Module | None) -> bool:
    """Whether it is a product of bare memory and nothing besides (a gate may be missing)."""
    if linear is None:
        return True
    if not isinstance(linear, nn.Linear | Int8Linear) or type(linear) not in LINEAR:
        return False  # kinds of Linear that compute something else, adapters for one
    weight = linear.weight
    return weight.is_contiguous() and weight.device.type == "cpu" and linear.in_features <= MOST_INPUTS


def _product(linear: nn.Linear | Int8Linear | None) -> _Product:
    if linear is None:
        return _Product()
    addresses = map(_address, (linear.weight, getattr(linear, "scale", None), linear.bias))
    return _Product(FORMATS[linear.weight.dtype], linear.in_features, linear.out_features, *addresses)


def _norm(norm: nn.Module) -> _Norm:
    weight, bias = (_address(getattr(norm, name, None)) for name in ("weight", "bias"))
    return _Norm(NORMS[type(norm)], getattr(norm, "eps", 0.0), weight, bias)


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()
