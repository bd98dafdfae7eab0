"""Attention inside the documents of packed rows, by torch's kernel for sequences of unequal length (Dao 2023).

A mask of all pairs of a row is neither made nor read, and pairs of different documents cost nothing. The kernel is there on
CUDA devices, for 16-bit numbers.

Axes: B batch, S sequence, H heads, K head size.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from trifold.batch import Layout
from trifold.model import Visibility
from trifold.model import attend as attend_plainly
from trifold.model.attention import spread_heads
from trifold.native import trusted

__all__ = ["attend_packed", "bounds_of", "load_varlen", "takes_packed"]

LARGEST_HEAD, GRAIN, AMPERE = 256, 8, (8, 0)
CLOSE = 0.02
"""Largest difference to the plain rule in the check of the kernel: a few units in the last place of bfloat16."""

Kernel = Callable[..., Any]
_BOUNDS: WeakKeyDictionary[Visibility, Tensor | None] = WeakKeyDictionary()


def takes_packed(query: Float[Tensor, "batch heads query head_size"], visibility: Visibility) -> bool:
    """Whether the kernel computes attention of such queries under such a rule.

    Example:
        >>> from trifold.batch import Layout
        >>> layout = Layout.whole(1, 2)
        >>> takes_packed(torch.ones(1, 1, 2, 8), Visibility(layout, layout, causal=True, window=None))  # one document
        False
    """
    own = visibility.query is visibility.key and visibility.query.documents is not None
    if not own or visibility.query.prefix is not None or query.device.type != "cuda" or torch.compiler.is_compiling():
        return False
    lean = query.dtype in (torch.bfloat16, torch.float16)
    fits = lean and query.shape[-1] % GRAIN == 0 and query.shape[-1] <= LARGEST_HEAD
    return fits and load_varlen(query.device) is not None and _bounds(visibility) is not None


def attend_packed(
    query: Float[Tensor, "batch heads seq head_size"],
    key: Float[Tensor, "batch kv_heads seq head_size"],
    value: Float[Tensor, "batch kv_heads seq head_size"],
    visibility: Visibility,
    *,
    scale: float | None = None,
) -> Float[Tensor, "batch heads seq head_size"]:
    """As `trifold.model.attend`, where `takes_packed` says so."""
    varlen, bounds = load_varlen(query.device), _bounds(visibility)
    assert varlen is not None, "the caller has asked"
    assert bounds is not None, "the caller has asked"
    return _attend(varlen, (query, *spread_heads(query, key, value)), bounds, visibility, scale)


def _attend(
    varlen: Kernel,
    parts: tuple[Tensor, Tensor, Tensor],
    bounds: Tensor,
    visibility: Visibility,
    scale: float | None,
) -> Tensor:
    rows, length = parts[0].shape[0], parts[0].shape[2]
    flat = [tensor.transpose(1, 2).flatten(0, 1) for tensor in parts]  # B*S H K
    reach = -1 if visibility.window is None else visibility.window
    output = varlen(
        *flat, bounds, bounds, length, length, scale=scale, window_size=(reach, 0 if visibility.causal else reach)
    )
    return output.unflatten(0, (rows, length)).transpose(1, 2)


def _bounds(visibility: Visibility) -> Tensor | None:
    """Those of its documents, once for all layers."""
    if visibility not in _BOUNDS:
        _BOUNDS[visibility] = bounds_of(visibility.query)
    return _BOUNDS[visibility]


def bounds_of(layout: Layout) -> Int32[Tensor, " bounds"] | None:
    """Where documents begin and end among all places, row after row; None where one is torn, or not in order.

    Example:
        >>> bounds_of(Layout.padded(torch.tensor([2, 3])))
        tensor([0, 2, 3, 6], dtype=torch.int32)
        >>> bounds_of(Layout(torch.tensor([[0, 0, 1]]), torch.tensor([[1, 2, 1]]))) is None
        True
    """
    documents = layout.documents
    assert documents is not None, "only packed rows have bounds"
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    sorted_ids = documents.sort(1).values
    distinct = (sorted_ids[:, 1:] != sorted_ids[:, :-1]).sum() + len(documents)
    follows = layout.positions[:, 1:] == layout.positions[:, :-1] + 1
    in_order = (follows | begins[:, 1:] | (documents[:, 1:] == 0)).all()
    if not bool(in_order & (begins.sum() == distinct)):
        return None
    starts = begins.flatten().nonzero()[:, 0]
    return torch.cat([starts, starts.new_full((1,), begins.numel())]).int()


@cache
def load_varlen(device: torch.device) -> Kernel | None:
    """The kernel; None where this torch or this device has none, or it does not give the right numbers.

    Example:
        >>> load_varlen(torch.device("cpu")) is None
        True
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < AMPERE:
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn

        known = inspect.signature(varlen_attn).parameters
        kernel = varlen_attn if {"window_size", "scale"} <= known.keys() else None
        return trusted(kernel, lambda one: _is_right(one, device), "varlen_attn")
    except (ImportError, RuntimeError, TypeError):
        return None


@torch.no_grad()
def _is_right(varlen: Kernel, device: torch.device) -> bool:
    """Whether it gives what the plain rule gives."""
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 2, 5, 8, generator=draw).to(device, torch.bfloat16) for _ in range(3))
    layout = Layout.padded(torch.tensor([3, 5], device=device))
    assert layout.documents is not None, "the first row is padded"
    inside = layout.documents[:, None, :, None] != 0  # nobody reads what padding sees
    for causal, window in ((True, None), (False, None), (True, 1), (False, 1)):
        seen = Visibility(layout, layout, causal=causal, window=window)
        bounds = bounds_of(layout)
        assert bounds is not None, "rows that are only padded are in order"
        made = _attend(varlen, (query, key, value), bounds, seen, 0.3)
        wanted = attend_plainly(query, key, value, seen, scale=0.3)
        if not bool((((made - wanted) * inside).abs() < CLOSE).all()):
            return False
    return True
