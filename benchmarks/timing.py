"""The best of several tries: the only figure of a busy machine that means anything."""

import time
from collections.abc import Callable


def best_seconds(work: Callable[[], object], tries: int) -> float:
    """Seconds of the fastest of `tries` calls, after two that are not counted."""
    work()
    work()
    best = float("inf")
    for _ in range(tries):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
