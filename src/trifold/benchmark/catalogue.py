"""The benchmarks by name; each stands in a module of its own and is imported when it is asked for."""

import importlib

from trifold.benchmark.work import Benchmark
from trifold.errors import UsageError

__all__ = ["NAMES", "find_benchmark"]

NAMES = ("masked", "finetune", "classify")
"""In the order of `trifold bench all`."""


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        UsageError: there is none.

    Example:
        >>> find_benchmark("classify").unit
        'texts'
    """
    if name not in NAMES:
        raise UsageError("benchmark.unknown", given=name, known=", ".join(NAMES))
    return importlib.import_module(f"trifold.benchmark.{name}").BENCHMARK
