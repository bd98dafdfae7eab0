"""Attention whose scores never leave the cache, on processors with a matrix unit (see `heads.c`).

Axes: B rows, H heads, Q queries, T keys, K head size.
"""

import ctypes
from typing import Any

import torch
from jaxtyping import BFloat16, Bool, Int32
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx, once_differentiable

from trifold.native.passes import draw_seed
from trifold.native.product import get_products, load_products

__all__ = ["mix_heads", "pack_mask"]

INTEGER, POINTER, FLOAT = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float


class Lain(ctypes.Structure):
    """Where the numbers of a tensor [B, H, places, K] are (`struct lain` in `heads.c`)."""

    _fields_ = (("at", POINTER), ("row", INTEGER), ("head", INTEGER), ("step", INTEGER))


class Heads(ctypes.Structure):
    """Heads of attention (`struct heads` in `heads.c`)."""

    _fields_ = (
        ("rows", INTEGER),
        ("heads", INTEGER),
        ("queries", INTEGER),
        ("keys", INTEGER),
        ("size", INTEGER),
        ("causal", INTEGER),
        ("query", Lain),
        ("key", Lain),
        ("value", Lain),
        ("mixed", Lain),
        ("grad", Lain),
        ("to_query", Lain),
        ("to_key", Lain),
        ("to_value", Lain),
        ("normalizer", POINTER),
        ("seen", POINTER),
        ("seen_row", INTEGER),
        ("seen_step", INTEGER),
        ("seed", INTEGER),
        ("scale", FLOAT),
        ("chance", FLOAT),
    )


def mix_heads(
    query: BFloat16[Tensor, "batch heads query head_size"],
    key: BFloat16[Tensor, "batch heads key head_size"],
    value: BFloat16[Tensor, "batch heads key head_size"],
    seen: Int32[Tensor, "rows key blocks"] | None,
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
        seen: which keys each query sees (see `pack_mask`); None for every key.
        causal: instead of that, as many queries as keys, each of which sees those up to its own.
        scale: of the scores.
        dropout: chance of a weight to be left out, drawn from torch's global generator.
    """
    seed = draw_seed() if dropout else 0
    kind = Heads(
        rows=query.shape[0],
        heads=query.shape[1],
        queries=query.shape[2],
        keys=key.shape[2],
        size=query.shape[3],
        causal=int(causal),
        scale=scale,
        chance=dropout,
        seed=seed,
    )
    return _Mixed.apply(*map(_dense, (query, key, value)), seen, kind)


def pack_mask(mask: Bool[Tensor, "rows 1 query key"]) -> Int32[Tensor, "rows key blocks"] | None:
    """The mask as `mix_heads` reads it, a bit for each query in blocks of 32; None where it has no use.

    Args:
        mask: true where a query sees a key; of one row where all rows are alike.

    Example:
        >>> packed = pack_mask(torch.ones(1, 1, 3, 2, dtype=torch.bool))
        >>> packed is None or packed.tolist() == [[[7], [7]]]
        True
    """
    products = load_products() if mask.device.type == "cpu" else None
    return None if products is None else products.pack_mask(_dense(mask))


def _dense(x: Tensor) -> Tensor:
    """The numbers of a place side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _room(x: Tensor) -> Tensor:
    """Like `x`, but places before heads, as the projection that follows reads them."""
    return x.new_empty(x.shape[0], x.shape[2], x.shape[1], x.shape[3]).transpose(1, 2)


def _lain(x: Tensor) -> Lain:
    return Lain(x.data_ptr(), *x.stride()[:3])


def _see(heads: Heads, seen: Tensor | None) -> None:
    if seen is not None:
        heads.seen, heads.seen_row, heads.seen_step = (
            seen.data_ptr(),
            0 if len(seen) == 1 else seen.stride(0),
            seen.stride(1),
        )


class _Mixed(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *given: Any) -> Tensor:  # type: ignore[override]
        query, key, value, seen, kind = given
        heads, mixed = Heads.from_buffer_copy(kind), _room(query)
        normalizer = torch.empty(2, *query.shape[:3], dtype=torch.float32)
        heads.query, heads.key, heads.value, heads.mixed = map(_lain, (query, key, value, mixed))
        heads.normalizer = normalizer.data_ptr()
        _see(heads, seen)
        get_products().mix(heads, back=False)
        ctx.save_for_backward(query, key, value, mixed, normalizer, seen)  # type: ignore[arg-type] - None may be saved
        ctx.kind = kind  # type: ignore[attr-defined]
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query, key, value, mixed, normalizer, seen = ctx.saved_tensors  # type: ignore[attr-defined]
        heads, grad = Heads.from_buffer_copy(ctx.kind), _dense(grad)  # type: ignore[attr-defined]
        grads = tuple(map(_room, (query, key, value)))
        heads.query, heads.key, heads.value, heads.mixed, heads.grad = map(_lain, (query, key, value, mixed, grad))
        heads.to_query, heads.to_key, heads.to_value = map(_lain, grads)
        heads.normalizer = normalizer.data_ptr()
        _see(heads, seen)
        get_products().mix(heads, back=True)
        return (*grads, None, None)
