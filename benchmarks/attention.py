"""Attention alone, forward and backward, causal: ours beside torch's fused kernel (docs/decisions/0006)."""

import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.batch import Layout
from trifold.model.attention import Visibility, attend

__all__ = ["BENCHMARK"]

SHAPES = ((12, 4, 64, 32), (16, 4, 128, 32), (16, 6, 256, 64), (4, 8, 512, 64))
"""Rows, heads, length, head size."""

Attend = Callable[[Tensor, Tensor, Tensor, Layout], Tensor]


def ours(query: Tensor, key: Tensor, value: Tensor, layout: Layout) -> Tensor:
    """As the models call it."""
    return attend(query, key, value, Visibility(layout, layout, causal=True, window=None))


def fused(query: Tensor, key: Tensor, value: Tensor, layout: Layout) -> Tensor:
    """Torch's kernel."""
    del layout
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def run(work: Work, *, way: Attend) -> Measured:
    """All shapes, as often as takes some seconds."""
    dtype, seconds, tokens = getattr(torch, work.precision), 0.0, 0
    for shape in SHAPES[: work.pick(full=4, smoke=1)]:
        rows, _, length, _ = shape
        query, key, value = (torch.randn(shape, dtype=dtype, device=work.device, requires_grad=True) for _ in range(3))
        gradient, layout = torch.ones_like(query), Layout.whole(rows, length, device=torch.device(work.device))
        for turn in range(work.pick(full=22, smoke=3)):
            start = time.perf_counter()
            torch.autograd.grad(way(query, key, value, layout), (query, key, value), gradient)
            seconds += time.perf_counter() - start if turn > 1 else 0.0
            tokens += rows * length if turn > 1 else 0
    return Measured(amount=tokens, seconds=seconds, note=work.precision)


BENCHMARK = Benchmark(
    name="attention",
    title="causal attention, forward and backward, contexts of 64 to 512",
    title_zh="因果注意力，前向与反向，上下文 64 至 512",
    unit="tokens",
    sides=(Side(name="trifold", run=partial(run, way=ours)), Side(name="torch", run=partial(run, way=fused))),
)
