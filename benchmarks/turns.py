"""A B A B: the sides of a benchmark in turns, so that a slow minute of the machine hits all of them."""

import contextlib
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.child import run_turn
from benchmarks.limit import Limit
from benchmarks.work import MACHINE, Benchmark, Measured, Side, Work

__all__ = ["Result", "Spread", "measure"]

LONGEST = 3 * 3600
"""Seconds after which a side is given up."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, smallest and largest of some figures.

    Example:
        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, low=1.0, high=3.0)
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: list[float]) -> "Spread":
        """Of at least one figure."""
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a benchmark.

    Attributes:
        benchmark: which.
        turns: by side, what it did in each round.
        limits: of the machine, in each round.
        problems: by side, why it has no figures.
    """

    benchmark: Benchmark
    turns: Mapping[str, list[Measured]]
    limits: list[Limit]
    problems: Mapping[str, str]

    def rate(self, side: str) -> Spread:
        """Amount a second."""
        return Spread.of([turn.rate for turn in self.turns[side]])

    def ratio(self, side: str) -> Spread | None:
        """How many times the rate of a side Trifold's is, round by round; None where Trifold has no figures."""
        ours = self.turns.get(self.benchmark.sides[0].name)
        if ours is None:
            return None
        return Spread.of([mine.rate / other.rate for mine, other in zip(ours, self.turns[side], strict=True)])

    def memory(self, side: str) -> float:
        """Peak memory of a side's process, in bytes."""
        return statistics.median(turn.memory or 0 for turn in self.turns[side])

    def quality(self, side: str) -> Spread | None:
        """What is held equal, where the benchmark has it."""
        found = [turn.quality for turn in self.turns[side] if turn.quality is not None]
        return Spread.of(found) if found else None

    def share(self, side: str) -> Spread | None:
        """Part of the machine's limit, as measured in the same rounds: of its arithmetic, or of reading its memory."""
        found = []
        for turn, limit in zip(self.turns[side], self.limits, strict=False):
            if turn.flops is not None:
                found.append(turn.flops / turn.seconds / max(limit.float32, limit.bfloat16))
            elif turn.bytes is not None:
                found.append(turn.bytes / turn.seconds / limit.read)
        return Spread.of(found) if found else None


def measure(
    benchmark: Benchmark, work: Work, *, rounds: int | None = None, listen: Callable[[str, int], None] | None = None
) -> Result:
    """Give each side its turn, round after round.

    Args:
        benchmark: which.
        work: how much.
        rounds: how often; None for as often as the benchmark thinks right.
        listen: is told whose turn it is, and in which round.

    Returns:
        What came of it. A side that cannot run, or fails, has a problem instead of figures; the others go on.

    Raises:
        BenchmarkError: the data that the benchmark reads are not there.
    """
    benchmark.check(work)
    with tempfile.TemporaryDirectory() as cache:
        return _rounds(benchmark, replace(work, cache=cache), rounds, listen or (lambda *_: None))


def _rounds(benchmark: Benchmark, work: Work, rounds: int | None, listen: Callable[[str, int], None]) -> Result:
    problems = {side.name: found for side in benchmark.sides if (found := _missing(side, work))}
    turns: dict[str, list[Measured]] = {side.name: [] for side in benchmark.sides if side.name not in problems}
    limits = []
    for number in range(rounds or (1 if work.smoke else benchmark.rounds)):
        for name in (MACHINE, *turns):
            if name in problems:
                continue
            listen(name, number + 1)
            try:
                found = _turn(benchmark, name, work)
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is said in its line of the table
                problems[name] = f"{type(error).__name__}: {error}"[:300].replace("\n", " ").replace("|", "/")
                continue
            if name == MACHINE:
                limits.append(Limit(**found))
            else:
                turns[name].append(Measured(**found))
    return Result(benchmark, {name: found for name, found in turns.items() if name not in problems}, limits, problems)


def _missing(side: Side, work: Work) -> str | None:
    """Why a side cannot run here."""
    for module in side.needs:
        if importlib.util.find_spec(module) is None:
            return f"not installed: {module}"
    if side.checkout is not None and side.checkout not in work.checkouts:
        return f"no checkout given (--{side.checkout} FOLDER)"
    return None


def _turn(benchmark: Benchmark, side: str, work: Work) -> dict[str, Any]:
    """One turn in a process of its own; in this one where only little is to be done."""
    if work.smoke:
        with contextlib.redirect_stdout(sys.stderr):  # what libraries print must not mix with the result
            return run_turn(benchmark, side, work)
    command = [sys.executable, "-m", "benchmarks.child", benchmark.name, side, str(os.getpid())]
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}  # wherever it was started
    if work.threads is not None:
        environment["OMP_NUM_THREADS"] = str(work.threads)
    done = subprocess.run(  # noqa: S603 - our own module
        command,
        input=json.dumps(asdict(work)),
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    if done.returncode < 0:  # what it said last is not why
        raise ChildProcessError(signal.Signals(-done.returncode).name)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["-"]
        raise ValueError(lines[-1])
    return json.loads(done.stdout.splitlines()[-1])
