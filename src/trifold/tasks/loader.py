"""Batches of whole labelled examples, in an order that is a pure function of (seed, epoch)."""

from collections.abc import Iterator, Mapping, Sequence

from trifold.batch import Batch
from trifold.data.permutation import mix, permute
from trifold.example import TrainingExample
from trifold.tasks.frame import pack

__all__ = ["ExampleLoader"]


class ExampleLoader:
    """An endless stream of batches, each of the same number of examples, packed into as few rows as they need.

    Unlike rows cut from a corpus, an example is never cut nor shared between batches: what belongs together (a query
    and its passage) stays together. The whole state is the number of examples given so far.

    Args:
        examples: each a tuple of what must come together; usually one.
        batch_size: how many of them make a batch.
        pad: id of the padding token.
        seed: of the order.

    Example:
        >>> import numpy as np
        >>> ones = [(TrainingExample(labels=np.array([n]), target=np.array([n])),) for n in range(4)]
        >>> stream = iter(ExampleLoader(ones, batch_size=2, pad=0, seed=1))
        >>> first, second = next(stream), next(stream)
        >>> sorted(int(n) for batch in (first, second) for n in batch.labels[batch.labels >= 0])
        [0, 1, 2, 3]
    """

    def __init__(self, examples: Sequence[Sequence[TrainingExample]], *, batch_size: int, pad: int, seed: int) -> None:
        self.examples, self.batch_size, self.pad, self.seed = examples, batch_size, pad, seed
        self.sample = 0

    def state_dict(self) -> dict[str, int]:
        """How many examples were given."""
        return {"sample": self.sample}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on after that many examples."""
        self.sample = int(state["sample"])

    def __iter__(self) -> Iterator[Batch]:
        while True:
            numbers = range(self.sample, self.sample + self.batch_size)
            self.sample += self.batch_size
            yield pack([one for number in numbers for one in self.examples[self._index(number)]], self.pad)[0]

    def _index(self, number: int) -> int:
        epoch, place = divmod(number, len(self.examples))
        return permute(place, len(self.examples), mix(self.seed, 4, epoch))
