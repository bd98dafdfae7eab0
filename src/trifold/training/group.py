"""The processes of one run, as the trainer sees them; here the one that has nobody to ask.

`trifold.training.distributed` has the other kind, of the same form.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from torch import Tensor

from trifold.training.step import Sums

__all__ = ["Alone"]

T = TypeVar("T")


class Alone:
    """The only process of a run: it does all the work and answers every question itself.

    Attributes:
        rank: its number, from 0; the first process is the one that writes.
        size: how many processes there are.
        in_step: whether the weights are spread over the processes, so that all have to pass through the model at once.

    Example:
        >>> alone = Alone()
        >>> list(alone.share(4)), alone.is_first
        ([0, 1, 2, 3], True)
    """

    rank, size, in_step = 0, 1, False

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def share(self, passes: int) -> range:
        """Which of a step's passes are this process's own."""
        own = passes // self.size
        return range(self.rank * own, (self.rank + 1) * own)

    def owns(self, number: int) -> bool:
        """Whether a held-out batch is this process's own."""
        return number % self.size == self.rank

    def meeting(self, doing: str) -> AbstractContextManager[None]:
        """While the others are waited for, to do what the message `doing` says."""
        del doing
        return nullcontext()

    @contextmanager
    def working(self) -> Iterator[None]:
        """While the passes of a step are computed."""
        yield

    def exchange(self, losses: list[Sums], seconds: float) -> list[Sums]:
        """The losses of all passes of a step, in their order; `seconds` is what this process's own took."""
        del seconds
        return losses

    def collect(self, mine: list[Sums], total: int) -> Sequence[Sums]:
        """What all processes measured on `total` held-out batches, in the order of the batches."""
        del total
        return mine

    def add(self, sums: dict[str, Tensor], exact: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients, by the names of the exact weights, summed over all processes."""
        del exact
        return sums

    def spread(self, tensors: Mapping[str, Tensor]) -> None:
        """Give all processes the first one's numbers."""

    def settle(self, value: float) -> float:
        """The first process's value."""
        return value

    def largest(self, value: int) -> int:
        """The largest of the processes' values."""
        return value

    def decide(self, work: Callable[[], float]) -> float:
        """The value of a piece of work that the first process does for all."""
        return work()

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do a piece of work: the first process before the others, which find what it made."""
        return work()

    def agree(self, facts: Mapping[str, object]) -> None:
        """Make sure that facts are the same in all processes.

        Raises:
            DistributedError: they are not; names them, and what each process has.
        """
