"""One turn of one side: `python -m trifold.benchmark.child BENCHMARK SIDE`, the work as JSON on standard input.

The last line of standard output is the result as JSON.
"""

import json
import os
import sys
from dataclasses import asdict, replace
from typing import Any

from trifold.benchmark.catalogue import find_benchmark
from trifold.benchmark.limit import measure_limit
from trifold.benchmark.work import MACHINE, Benchmark, Work

__all__ = ["main", "run_turn"]


def main() -> None:
    """Do the work and write what came of it."""
    name, side = sys.argv[1:]
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
