"""What an optimizer step takes, and what it did."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Protocol, runtime_checkable

from trifold.batch import Batch, Loss

__all__ = ["Batches", "Counted", "Partial", "Step", "Sums", "add_up", "seed_of", "whole"]


@runtime_checkable
class Batches(Protocol):
    """A stream of batches whose place can be noted and found again."""

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, int]:
        """The place."""
        ...

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go back to a place."""
        ...


class Counted:
    """Batches of any iterable; their place is how many were taken, and going back to one takes as many again.

    Args:
        batches: as many as there are, such as a list or a torch `DataLoader`; to go back to a place, they must come in the
            same order again.

    Example:
        >>> stream = Counted([Batch(num_bytes=size) for size in (1, 2, 3)])
        >>> next(iter(stream)).num_bytes, stream.state_dict()
        (1, {'batches': 1})
        >>> [batch.num_bytes for batch in stream]
        [2, 3]
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches, self.taken, self._drawn = batches, 0, 0

    def __iter__(self) -> Iterator[Batch]:
        stream = iter(self.batches)
        if stream is not self.batches:  # it begins anew
            self._drawn = 0
        for batch in stream:
            self._drawn += 1
            if self._drawn > self.taken:
                self.taken = self._drawn
                yield batch

    def state_dict(self) -> dict[str, int]:
        """How many were taken."""
        return {"batches": self.taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on after so many."""
        self.taken = state["batches"]


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimizer step did.

    Attributes:
        step: its number, from 1.
        tokens: target tokens since the start of the run, or whatever else the losses give as their weight.
        loss: summed loss over summed weight; for language models the mean negative log-likelihood of a token, in nats.
        learning_rate: of the first parameter group.
        gradient_norm: before clipping.
        tokens_per_second: of this step, places on both sides of its batches, padding included.
        seconds: training time since the start of the run.
        progress: how much of the run is done, 0 to 1.
        remaining: seconds still to go, estimated.
        skipped: whether it was bad and moved no weight.
        metrics: what else the losses say, each summed and divided by the summed weight.
    """

    step: int
    tokens: float
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    seconds: float
    progress: float
    remaining: float
    skipped: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sums:
    """What losses add up to.

    Attributes:
        loss: their sums.
        weight: their weights.
        metrics: their metrics, by name.

    Example:
        >>> (Sums(2.0, 1.0) + Sums(4.0, 3.0)).mean
        1.5
    """

    loss: float = 0.0
    weight: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, loss: Loss) -> "Sums":
        """Those of one loss."""
        return cls(loss.sum.item(), float(loss.weight), {name: float(one) for name, one in loss.metrics.items()})

    def __add__(self, other: "Sums") -> "Sums":
        names = dict.fromkeys([*self.metrics, *other.metrics])
        added = {name: self.metrics.get(name, 0.0) + other.metrics.get(name, 0.0) for name in names}
        return Sums(self.loss + other.loss, self.weight + other.weight, added)

    @property
    def mean(self) -> float:
        """The loss of one unit of weight; all of it where nothing has any."""
        return self.loss / self.weight if self.weight else self.loss

    def means(self) -> dict[str, float]:
        """The metrics of one unit of weight."""
        return {name: value / self.weight if self.weight else value for name, value in self.metrics.items()}


@dataclass(frozen=True, slots=True)
class Partial:
    """How far a step has come that is not done: passes behind it, and what their losses add up to."""

    passes: int
    sums: Sums


def seed_of(seed: int, step: int, index: int) -> int:
    """One 63-bit number for a place in the run (a splitmix64 step over its coordinates)."""
    value = seed
    for part in (step, index):
        value = (value + 0x9E3779B97F4A7C15 + part) & (2**64 - 1)
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        value ^= value >> 31
    return value >> 1


def add_up(parts: Iterable[Sums], start: Sums) -> Sums:
    """Their sum, one after another (Python's own `sum` adds floats otherwise from 3.12 on)."""
    return reduce(Sums.__add__, parts, start)


def whole(weight: float) -> float:
    """A sum of weights, as an integer where it is one, as numbers of tokens are.

    Example:
        >>> whole(3.0), whole(2.5)
        (3, 2.5)
    """
    return int(weight) if float(weight).is_integer() else weight
