"""The benchmarks by name; each is imported when it is asked for."""

import importlib

from benchmarks.work import Benchmark, BenchmarkError

__all__ = ["NAMES", "find_benchmark"]

PLACES = {
    "attention": "attention:BENCHMARK",
    "decoder": "decoder:BENCHMARK",
    "gpt2": "decoder:LARGE",
    "masked": "masked:BENCHMARK",
    "translation": "translation:TRANSLATION",
    "finetune": "sentences:FINETUNE",
    "classify": "sentences:CLASSIFY",
    "translate": "translation:TRANSLATE",
    "shakespeare": "shakespeare:BENCHMARK",
    "decode": "decoding:ONE",
    "batch": "decoding:BATCH",
    "corpus": "corpus:SMALL",
    "corpus-large": "corpus:LARGE",
    "context": "growth:CONTEXT",
    "rows": "growth:BATCH",
    "size": "growth:SIZE",
    "threads": "growth:THREADS",
    "text": "growth:CORPUS",
    "help": "start:HELP",
    "first-token": "start:ONE_TOKEN",
}
NAMES = tuple(PLACES)
"""In the order of `python -m benchmarks all`."""


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        BenchmarkError: there is none.

    Example:
        >>> find_benchmark("masked").unit
        'tokens'
    """
    if name not in PLACES:
        raise BenchmarkError(f"There is no benchmark {name}. There are: all, {', '.join(NAMES)}.")
    module, attribute = PLACES[name].split(":")
    return getattr(importlib.import_module(f"benchmarks.{module}"), attribute)
