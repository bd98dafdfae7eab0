"""One turn of one side: `python -m benchmarks.child BENCHMARK SIDE PARENT`, the work as JSON on standard input.

The last line of standard output is the result as JSON. PARENT is the process that waits for it.
"""

import json
import os
import sys
import threading
import time
from dataclasses import asdict, replace
from typing import Any

from benchmarks.catalogue import find_benchmark
from benchmarks.limit import measure_limit
from benchmarks.work import MACHINE, Benchmark, Work

__all__ = ["main", "run_turn"]


def main() -> None:
    """Do the work and write what came of it."""
    name, side, parent = sys.argv[1:]
    threading.Thread(target=end_with, args=(int(parent),), name="end_with", daemon=True).start()
    work = Work(**json.load(sys.stdin))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the result
    if work.threads is not None:
        import torch

        torch.set_num_threads(work.threads)
    json.dump(run_turn(find_benchmark(name), side, work), out)
    out.close()


def run_turn(benchmark: Benchmark, side: str, work: Work) -> dict[str, Any]:
    """One turn in this process; the fields of `Measured`, or of `Limit` for the machine."""
    if side == MACHINE:
        return asdict(measure_limit(work))
    found = next(one for one in benchmark.sides if one.name == side).run(work)
    return asdict(found if found.memory is not None else replace(found, memory=peak_memory()))


def end_with(parent: int) -> None:
    """End this process within a second of its parent's end: a benchmark that was killed must not go on measuring."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def peak_memory() -> int | None:
    """Bytes that this process held at most; None where the system does not say.

    Example:
        >>> (peak_memory() or 1) > 0
        True
    """
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
