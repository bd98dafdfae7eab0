"""Attention whose scores never leave the cache, on processors with a matrix unit (see `heads.c`).

Axes: B rows, H heads, Q queries, T keys, K head size.
"""

import ctypes
from typing import Any

import torch
from jaxtyping import BFloat16, Bool
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.product import get_products

__all__ = ["mix_heads"]

INTEGER, POINTER, FLOAT = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float


class Lain(ctypes.Structure):
    """Where the numbers of a tensor [B, H, places, K] are (`struct lain` in `heads.c`)."""

    _fields_ = (("at", POINTER), ("row", INTEGER), ("head", INTEGER), ("step", INTEGER))


class Heads(ctypes.Structure):
    """Heads of attention (`struct heads` in `heads.c`)."""

    _fields_ = (
        ("rows", INTEGER), ("heads", INTEGER), ("queries", INTEGER), ("keys", INTEGER), ("size", INTEGER), ("causal", INTEGER),
        ("query", Lain), ("key", Lain), ("value", Lain), ("mixed", Lain), ("grad", Lain),
        ("to_query", Lain), ("to_key", Lain), ("to_value", Lain),
        ("normalizer", POINTER), ("seen", POINTER), ("seen_row", INTEGER), ("seen_step", INTEGER),
        ("seed", INTEGER), ("scale", FLOAT), ("chance", FLOAT),
    )  # fmt: skip


def mix_heads(
    query: BFloat16[Tensor, "batch heads query head_size"],
    key: BFloat16[Tensor, "batch heads key head_size"],
    value: BFloat16[Tensor, "batch heads key head_size"],
    mask: Bool[Tensor, "rows 1 query key"] | None,
    *,
    causal: bool,
    scale: float,
    dropout: float = 0.0,
) -> BFloat16[Tensor, "batch heads query head_size"]:
    """`softmax(scale * query key^T) value` over the keys that are seen; zeros where none is.

    Args:
        query: on the CPU.
        key: of the same heads.
        value: of the same heads.
        mask: true where a query sees a key; of one row where all rows are alike; None for every key.
        causal: instead of a mask, as many queries as keys, each of which sees those up to its own.
        scale: of the scores.
        dropout: chance of a weight to be left out, drawn from torch's global generator.
    """
    seed = int(torch.randint(2**31, ())) if dropout else 0
    kind = Heads(
        rows=query.shape[0], heads=query.shape[1], queries=query.shape[2], keys=key.shape[2], size=query.shape[3],
        causal=int(causal), scale=scale, chance=dropout, seed=seed,
    )  # fmt: skip
    return _Mixed.apply(*map(_dense, (query, key, value)), mask, kind)


def _dense(x: Tensor) -> Tensor:
    """The numbers of a place side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _room(x: Tensor) -> Tensor:
    """Like `x`, but places before heads, as the projection that follows reads them."""
    return x.new_empty(x.shape[0], x.shape[2], x.shape[1], x.shape[3]).transpose(1, 2)


def _lain(x: Tensor) -> Lain:
    return Lain(x.data_ptr(), *x.stride()[:3])


def _see(heads: Heads, mask: Tensor | None) -> Tensor | None:
    """Tell who sees whom; what is returned holds the memory."""
    if mask is None:
        return None
    mask = _dense(mask)
    heads.seen, heads.seen_row, heads.seen_step = mask.data_ptr(), 0 if len(mask) == 1 else mask.stride(0), mask.stride(2)
    return mask


class _Mixed(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *given: Any) -> Tensor:  # type: ignore[override]
        query, key, value, mask, kind = given
        heads, mixed = Heads.from_buffer_copy(kind), _room(query)
        normalizer = torch.empty(query.shape[:3])
        heads.query, heads.key, heads.value, heads.mixed = map(_lain, (query, key, value, mixed))
        heads.normalizer, held = normalizer.data_ptr(), _see(heads, mask)
        get_products().mix(heads, back=False)
        ctx.save_for_backward(query, key, value, mixed, normalizer, held)  # type: ignore[arg-type] - None may be saved
        ctx.kind = kind  # type: ignore[attr-defined]
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query, key, value, mixed, normalizer, mask = ctx.saved_tensors  # type: ignore[attr-defined]
        heads, grad = Heads.from_buffer_copy(ctx.kind), _dense(grad)  # type: ignore[attr-defined]
        grads = tuple(map(_room, (query, key, value)))
        heads.query, heads.key, heads.value, heads.mixed, heads.grad = map(_lain, (query, key, value, mixed, grad))
        heads.to_query, heads.to_key, heads.to_value = map(_lain, grads)
        heads.normalizer = normalizer.data_ptr()
        held = _see(heads, None if mask is None else mask.transpose(2, 3).contiguous())  # noqa: F841 - keeps the memory
        get_products().mix(heads, back=True)
        return (*grads, None, None)
