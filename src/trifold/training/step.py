"""What an optimizer step takes, and what it did."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trifold.batch import IGNORED, Batch

__all__ = ["Batches", "Counted", "Partial", "Step", "add_up", "count_targets", "seed_of"]


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
        tokens: target tokens since the start of the run.
        loss: mean negative log-likelihood of its target tokens, in nats.
        learning_rate: of the first parameter group.
        gradient_norm: before clipping.
        tokens_per_second: of this step, places on both sides of its batches, padding included.
        seconds: training time since the start of the run.
        progress: how much of the run is done, 0 to 1.
        remaining: seconds still to go, estimated.
        skipped: whether it was bad and moved no weight.
    """

    step: int
    tokens: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    seconds: float
    progress: float
    remaining: float
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Partial:
    """How far a step has come that is not done: passes behind it, and their summed loss."""

    passes: int
    total: float


def seed_of(seed: int, step: int, index: int) -> int:
    """One 63-bit number for a place in the run (a splitmix64 step over its coordinates)."""
    value = seed
    for part in (step, index):
        value = (value + 0x9E3779B97F4A7C15 + part) & (2**64 - 1)
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        value ^= value >> 31
    return value >> 1


def add_up(losses: Iterable[float], start: float) -> float:
    """Their sum, one after another (Python's own `sum` adds floats otherwise from 3.12 on)."""
    for loss in losses:
        start += loss
    return start


def count_targets(batch: Batch) -> int:
    """How many places of a batch have a label."""
    return 0 if batch.labels is None else int((batch.labels != IGNORED).sum())
