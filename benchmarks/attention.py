"""Torch's fused attention against plain matrix products, causal, forward and backward (docs/decisions/0006)."""

import sys
from unittest import mock

import torch

from benchmarks.timing import best_seconds
from trifold.batch import Layout
from trifold.model import attention
from trifold.model.attention import Visibility, attend

SHAPES = ((12, 4, 64, 32), (16, 4, 128, 32), (16, 6, 256, 64), (4, 8, 512, 64), (4, 8, 1024, 64))


def measure(shape: tuple[int, int, int, int], dtype: torch.dtype, dense_keys: int) -> float:
    """Milliseconds of one pass and its gradient; `dense_keys` chooses the way."""
    rows, _, length, _ = shape
    query, key, value = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3))
    layout, gradient = Layout.whole(rows, length), torch.randn(shape, dtype=dtype)

    def step() -> None:
        mixed = attend(query, key, value, Visibility(layout, layout, causal=True, window=None))
        torch.autograd.grad(mixed, (query, key, value), gradient)

    with mock.patch.object(attention, "DENSE_KEYS", dense_keys):
        return 1000 * best_seconds(step, tries=15)


def main() -> None:
    """A line for each shape."""
    sys.stdout.write("attention, bfloat16 (rows, heads, length, head size): fused ms, plain ms, fused / plain\n")
    for shape in SHAPES:
        fused, plain = (measure(shape, torch.bfloat16, keys) for keys in (0, sys.maxsize))
        sys.stdout.write(f"  {shape}: {fused:.2f} {plain:.2f} {fused / plain:.2f}\n")
