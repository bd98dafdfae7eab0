"""What a benchmark is: some work, and the sides that do it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["MACHINE", "Benchmark", "BenchmarkError", "Measured", "Side", "Work"]

MACHINE = "machine"
"""Name of the side that measures what the machine can do."""


class BenchmarkError(Exception):
    """What was asked for cannot be measured here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much is to be done, and with what.

    Attributes:
        smoke: do as little as shows that every side still runs.
        threads: of each process; None leaves them to the library.
        device: `cpu` or `cuda`.
        data: folder of the public data sets; None where there is none.
        checkouts: folders of peers that are not packages, by name.
        cache: folder for what all turns of all sides share.

    Example:
        >>> Work(smoke=True).pick(full=200, smoke=2)
        2
    """

    smoke: bool = False
    threads: int | None = None
    device: str = "cpu"
    data: str | None = None
    checkouts: Mapping[str, str] = field(default_factory=dict)
    cache: str | None = None

    def place(self, name: str) -> Path:
        """A folder in the cache."""
        assert self.cache is not None, "`measure` gives one"
        return Path(self.cache) / name

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """What the device computes fastest in: bfloat16 where it multiplies it in hardware."""
        import torch

        from trifold.training.precision import choose_device, choose_dtype

        device = choose_device("cuda" if self.device == "cuda" else "cpu")
        return "bfloat16" if choose_dtype("auto", device) == torch.bfloat16 else "float32"

    def pick(self, *, full: int, smoke: int) -> int:
        """A size: `full`, or `smoke` where little is to be done."""
        return smoke if self.smoke else full

    def file(self, name: str) -> Path:
        """A file of the data sets.

        Raises:
            BenchmarkError: there is no folder of data sets, or no such file in it.
        """
        path = None if self.data is None else Path(self.data) / name
        if path is None or not path.exists():
            raise BenchmarkError(
                f"{name} of the public data sets is not in the folder {self.data or '-'}. Name their folder with "
                "--folder or TRIFOLD_DATA, or add --smoke to try it on made-up text."
            )
        return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one side did in one turn.

    Attributes:
        amount: of the benchmark's unit: real tokens without padding, examples, runs.
        seconds: that it took, without loading and warming up.
        quality: what the benchmark holds equal between the sides: a loss, an accuracy.
        flops: arithmetic that the work needs, whoever does it; None where it is not what limits.
        bytes: of memory that it must read; None likewise.
        memory: peak of the process, in bytes.
        note: the setting that was measured.

    Example:
        >>> Measured(amount=100, seconds=4.0).rate
        25.0
    """

    amount: float
    seconds: float
    quality: float | None = None
    flops: float | None = None
    bytes: float | None = None
    memory: int | None = None
    note: str = ""

    @property
    def rate(self) -> float:
        """Amount a second."""
        return self.amount / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of those that do the work.

    Attributes:
        name: as the table says it.
        run: does the work and says what came of it; called in a process of its own.
        needs: modules that must be installed.
        checkout: name of a peer whose folder must be given.
        bar: what Trifold aims at: so many times this side's rate; None for no aim. It stands in the data, not on the page.
        size: where it stands on the axis of a benchmark that shows growth.
    """

    name: str
    run: Callable[[Work], Measured]
    needs: tuple[str, ...] = ()
    checkout: str | None = None
    bar: float | None = None
    size: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Some work and its sides, Trifold first.

    Attributes:
        name: as typed.
        title: what the work is.
        title_zh: the same in Chinese.
        unit: of the amount.
        quality: name of what is held equal; empty for none.
        sides: who does it.
        rounds: how often each has its turn, unless the user says.
        files: of the public data sets that it reads, unless little is to be done.
        axis: what grows from side to side, for its pictures; empty where the sides are different ones.
    """

    name: str
    title: str
    title_zh: str
    unit: str
    sides: tuple[Side, ...]
    quality: str = ""
    rounds: int = 3
    files: tuple[str, ...] = ()
    axis: str = ""

    def check(self, work: Work) -> None:
        """See to it that what it reads is there.

        Raises:
            BenchmarkError: it is not.
        """
        for name in () if work.smoke else self.files:
            work.file(name)
