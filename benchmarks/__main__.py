"""`python -m benchmarks NAME`: Trifold beside what a person would use instead, in turns, on this machine."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.catalogue import NAMES, find_benchmark
from benchmarks.page import as_data, as_table, update_page
from benchmarks.turns import measure
from benchmarks.work import Benchmark, BenchmarkError, Work

__all__ = ["main"]

ABOUT = """Measure Trifold beside what you would use instead: the same work in turns, each side in a process of its own.

Ratios are taken round by round, so that a slow minute of the machine hits both sides. Losses or answers of both sides
stand in the table: speed must not be bought with quality. Peers that are not installed are named and left out."""


class Parser(argparse.ArgumentParser):
    """Loads the benchmarks only where they are to be listed."""

    def format_help(self) -> str:
        """With a line for each name."""
        lines = [f"  {name:14}{find_benchmark(name).title}" for name in NAMES]
        self.epilog = "\n".join(["names:", f"  {'all':14}each of these in turn", *lines])
        return super().format_help()


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmarks asked for; show each table when it is there.

    Args:
        words: the arguments, those of the process when not given.

    Returns:
        The exit code: 0 done, 2 what was asked for cannot be measured here.

    Example:
        >>> main(["speed"])
        2
    """
    words = sys.argv[1:] if words is None else words
    values = _parser().parse_args(words)
    try:
        benchmarks, work = [find_benchmark(name) for name in _names(values.name)], _work_of(values)
        for benchmark in benchmarks:
            benchmark.check(work)
    except BenchmarkError as error:
        _note(str(error))
        return 2
    found = [_run(benchmark, work, values, f"python -m benchmarks {' '.join(words)}") for benchmark in benchmarks]
    if values.json:
        sys.stdout.write(json.dumps({"benchmarks": found}, ensure_ascii=False) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m benchmarks", description=ABOUT, formatter_class=raw)
    parser.add_argument("name", nargs="?", default="all", help="one of the names below (default: all)")
    parser.add_argument("--json", action="store_true", help="write every turn as JSON in place of the tables")
    parser.add_argument("--rounds", type=int, help="turns of each side (default: as each benchmark thinks right)")
    parser.add_argument("--smoke", action="store_true", help="do as little as shows that it runs; figures mean nothing")
    parser.add_argument("--threads", type=int, help="threads of each process (default: those of the machine)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--folder", help="folder of the public data sets (default: what TRIFOLD_DATA names)")
    parser.add_argument("--nanogpt", help="folder of a checkout of nanoGPT, to measure it too")
    parser.add_argument("--joeynmt", help="folder of a checkout of joeynmt, to measure it too")
    parser.add_argument("--page", type=Path, help="write the table into this Markdown page")
    parser.add_argument("--page-zh", type=Path, help="write the table into this Markdown page, in Chinese")
    return parser


def _names(given: str) -> Sequence[str]:
    return NAMES if given == "all" else (given,)


def _work_of(values: argparse.Namespace) -> Work:
    """How much is to be done, and with what."""
    given = {"nanogpt": values.nanogpt, "joeynmt": values.joeynmt}
    return Work(
        smoke=values.smoke,
        threads=values.threads,
        device=values.device,
        checkouts={name: folder for name, folder in given.items() if folder is not None},
        data=values.folder or os.environ.get("TRIFOLD_DATA"),
    )


def _run(benchmark: Benchmark, work: Work, values: argparse.Namespace, command: str) -> dict[str, Any]:
    """Measure one, show it, write it down; give it as data."""
    result = measure(
        benchmark,
        work,
        rounds=values.rounds,
        listen=lambda side, turn: _note(f"{benchmark.name}, round {turn}: {side}"),
    )
    if not values.json:
        sys.stdout.write(as_table(result, "en") + "\n\n")
        sys.stdout.flush()
    for path, language in ((values.page, "en"), (values.page_zh, "zh")):
        if path is not None:
            update_page(path, result, command=command, language=language)
            _note(f"Written to {path}")
    return as_data(result)


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
