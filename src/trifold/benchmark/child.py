"""One turn of one side: `python -m trifold.benchmark.child BENCHMARK SIDE`, the work as JSON on standard input.

The last line of standard output is the result as JSON.
"""

import json
import os
import resource
import sys
from dataclasses import asdict, replace
from typing import Any

from trifold.benchmark.catalogue import find_benchmark
from trifold.benchmark.limit import measure_limit
from trifold.benchmark.work import Work

__all__ = ["MACHINE", "main"]

MACHINE = "machine"
"""Name of the side that measures what the machine can do."""


def main() -> None:
    """Do the work and write what came of it."""
    name, chosen = sys.argv[1:]
    work = Work(**json.load(sys.stdin))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the result
    json.dump(_machine(work) if chosen == MACHINE else _turn(name, chosen, work), out)
    out.close()


def _machine(work: Work) -> dict[str, Any]:
    return asdict(measure_limit(work))


def _turn(name: str, chosen: str, work: Work) -> dict[str, Any]:
    if work.threads is not None:
        import torch

        torch.set_num_threads(work.threads)
    side = next(side for side in find_benchmark(name).sides if side.name == chosen)
    found = side.run(work)
    if found.memory is None:
        unit = 1 if sys.platform == "darwin" else 1024
        found = replace(found, memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    return asdict(found)


if __name__ == "__main__":
    main()
