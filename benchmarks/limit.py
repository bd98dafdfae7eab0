"""What the machine can do at best: matrix products and reading memory."""

import time
from dataclasses import dataclass

from benchmarks.work import Work

__all__ = ["Limit", "measure_limit"]

SIZE, TRIES = 2048, 5
READ = 2**28
"""Bytes read for the bandwidth: more than any cache holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The best of several tries.

    Attributes:
        float32, bfloat16: operations a second of a product of square matrices.
        read: bytes of memory read a second.
    """

    float32: float
    bfloat16: float
    read: float


def measure_limit(work: Work) -> Limit:
    """Measure them; half a second to two seconds on a processor.

    Example:
        >>> found = measure_limit(Work(smoke=True))
        >>> found.float32 > 0 and found.bfloat16 > 0 and found.read > 0
        True
    """
    import torch

    if work.threads is not None:
        torch.set_num_threads(work.threads)
    size, length = work.pick(full=SIZE, smoke=64), work.pick(full=READ, smoke=2**20)
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        one = torch.ones(size, size, dtype=dtype, device=work.device)
        rates[dtype] = 2.0 * size**3 / _seconds(lambda one=one: one @ one, work.device, most=1.0)
    long = torch.ones(length // 8, dtype=torch.int64, device=work.device)
    read = length / _seconds(long.sum, work.device, most=1.0)
    return Limit(float32=rates[torch.float32], bfloat16=rates[torch.bfloat16], read=read)


def _seconds(call: object, device: str, most: float) -> float:
    """Seconds of the fastest of some calls that together take about `most` seconds at the longest."""
    import torch

    assert callable(call)
    best, begin = float("inf"), time.perf_counter()
    for _ in range(TRIES):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() - begin > most:
            break
    return best
