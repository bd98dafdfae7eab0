"""From token stores to batches, in an order that is a pure function of (seed, sample number).

A sample is one piece of one document. Sample s of epoch e is found by arithmetic, not by remembering, so the whole state
of a loader is two whole numbers, however large the corpus.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trifold.batch import IGNORED, Batch
from trifold.data.packing import Room, assemble, fill_rows
from trifold.data.permutation import mix, permute
from trifold.data.store import Corpus
from trifold.errors import DataError
from trifold.example import Piece, TrainingExample

__all__ = ["Loader", "Preparer"]

PATTERN = 1024
"""How many samples it takes for a mix of corpora to repeat its proportions exactly."""
SHUFFLED = 1
"""The key of the one order in which a shuffled epoch is read."""


@runtime_checkable
class Preparer(Protocol):
    """What a loader asks of an objective.

    Attributes:
        suffix: ids added to the end of each document before it is cut.
        draws: whether its examples depend on chance.
    """

    suffix: tuple[int, ...]
    draws: bool

    def piece_length(self, length: int) -> int:
        """How many tokens of a document fill a row of `length`."""
        ...

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """Examples from one piece."""
        ...


class Loader:
    """Batches from corpora, by weight, prepared by an objective and packed.

    Args:
        corpora: what to read.
        objective: makes examples from pieces.
        room: places in a row, on each side.
        batch_size: rows in a batch.
        pad: id of the padding token.
        weights: how often to draw from each corpus, relative to the others; empty: by their sizes.
        seed: of order and of the objective's chances.
        token_bytes: bytes of raw text that each token id stands for; where given, batches count theirs.

    Raises:
        DataError: the corpora hold no piece at all.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        objective: Preparer,
        room: Room,
        *,
        batch_size: int,
        pad: int,
        weights: Sequence[float] = (),
        seed: int = 0,
        token_bytes: NDArray[np.int64] | None = None,
    ) -> None:
        self.corpora, self.objective, self.room = corpora, objective, room
        self.idle = np.random.default_rng(seed)
        self.batch_size, self.pad, self.seed, self.token_bytes = batch_size, pad, seed, token_bytes
        self.piece_length = objective.piece_length(room.main)
        self.sizes = [corpus.num_pieces(self.piece_length, len(objective.suffix)) for corpus in corpora]
        if sum(self.sizes) == 0:
            raise DataError("data.no_piece", path=", ".join(corpus.name for corpus in corpora))
        self.pattern = _pattern(weights or [float(size) for size in self.sizes])
        self.rows_at_once = batch_size * max(1, -(-64 // batch_size))
        self.sample = self.batch = 0

    def state_dict(self) -> dict[str, int]:
        """Where the next batch comes from: the first sample of its window and its number there."""
        return {"sample": self.sample, "batch": self.batch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where `state_dict` was asked for."""
        self.sample, self.batch = int(state["sample"]), int(state["batch"])

    def __iter__(self) -> Iterator[Batch]:
        """Batches without end; each epoch in another order, cut at other places."""
        while True:
            rows, used = self._window(self.sample)
            order = np.random.default_rng(mix(self.seed, self.sample, 1)).permutation(len(rows))
            while self.batch < len(rows) // self.batch_size:
                chosen = order[self.batch * self.batch_size : (self.batch + 1) * self.batch_size]
                self.batch += 1
                yield assemble([rows[index] for index in chosen], self.room, pad=self.pad)
            self.sample, self.batch = self.sample + used, 0

    def epoch(self, *, shuffled: bool = False) -> Iterator[Batch]:
        """Every token of every corpus exactly once, in order; the last batch may have fewer rows.

        Shuffled, the order is always the same, and its first rows are a sample of all.
        """
        waiting: list[TrainingExample] = []
        total, limit = 0, self.rows_at_once * self.room.main
        for example in self._in_order(shuffled=shuffled):
            waiting.append(example)
            total += _length(example, self.room)
            if total >= limit:
                yield from self._batches(waiting)
                waiting, total = [], 0
        yield from self._batches(waiting)

    def _in_order(self, *, shuffled: bool) -> Iterator[TrainingExample]:
        for corpus, size in zip(self.corpora, self.sizes, strict=True):
            for place in range(size):
                index = permute(place, size, SHUFFLED) if shuffled else place
                piece = corpus.piece(index, self.piece_length, shift=0, suffix=self.objective.suffix)
                yield from self._prepare(corpus, piece, mix(self.seed, 2, index))

    def _batches(self, examples: list[TrainingExample]) -> Iterator[Batch]:
        rows = fill_rows(examples, len(examples), self.room) or []
        for start in range(0, len(rows), self.batch_size):
            yield assemble(rows[start : start + self.batch_size], self.room, pad=self.pad)

    def _window(self, first: int) -> tuple[list[list[TrainingExample]], int]:
        """Rows that the samples from `first` on fill, and how many samples they are."""
        samples: list[list[TrainingExample]] = []
        total, limit = 0, self.rows_at_once * self.room.main
        while total < limit:
            examples = self._draw(first + len(samples))
            samples.append(examples)
            total += sum(_length(example, self.room) for example in examples)
            if total == 0 and len(samples) > 2 * sum(self.sizes):
                raise DataError("data.no_piece", path=", ".join(corpus.name for corpus in self.corpora))
        while True:
            flat = [example for examples in samples for example in examples]
            rows = fill_rows(flat, self.rows_at_once, self.room)
            if rows is not None:
                empty: list[list[TrainingExample]] = [[] for _ in range(-len(rows) % self.batch_size)]
                return rows + empty, len(samples)
            del samples[-max(1, len(samples) // 200) :]  # they open the next window

    def _draw(self, sample: int) -> list[TrainingExample]:
        turn, at = divmod(sample, PATTERN)
        which = int(self.pattern[at])
        here = self.pattern == which
        place = turn * int(here.sum()) + int(here[:at].sum())
        epoch, place = divmod(place, self.sizes[which])
        index = permute(place, self.sizes[which], mix(self.seed, which, epoch))
        corpus = self.corpora[which]
        shift = mix(self.seed, which, epoch, 3)
        piece = corpus.piece(index, self.piece_length, shift=shift, suffix=self.objective.suffix)
        return self._prepare(corpus, piece, mix(self.seed, sample))

    def _prepare(self, corpus: Corpus, piece: Piece | None, seed: int) -> list[TrainingExample]:
        if piece is None:
            return []
        room = (self.room.source, self.room.target)
        piece = Piece(piece.ids, piece.previous, piece.word_starts, piece.target, room)
        rng = np.random.default_rng(seed) if self.objective.draws else self.idle  # it takes longer than all else here
        examples = self.objective.prepare(piece, rng)
        for example in examples:
            if not self.room.fits(example):
                limit = f"{self.room.source} + {self.room.target}"
                given = f"{example.source_length} + {example.target_length}"
                raise DataError("data.too_long", path=corpus.name, given=given, limit=limit)
        if self.token_bytes is None:
            return examples
        return [_counted(example, self.token_bytes) for example in examples]


def _length(example: TrainingExample, room: Room) -> int:
    return example.source_length if room.source else example.target_length


def _counted(example: TrainingExample, token_bytes: NDArray[np.int64]) -> TrainingExample:
    """The example with the bytes that its labels spell: what the tokenizer loses or does not know is not predicted."""
    num_bytes = int(token_bytes[example.labels[example.labels != IGNORED]].sum())
    return TrainingExample(example.labels, example.source, example.target, example.prefix, num_bytes)


def _pattern(weights: Sequence[float]) -> NDArray[np.int64]:
    """Which corpus each of `PATTERN` samples comes from: always the one that is furthest behind its share."""
    share = np.array(weights) / sum(weights)
    counts, pattern = np.zeros(len(share)), np.zeros(PATTERN, dtype=np.int64)
    for at in range(PATTERN):
        pattern[at] = np.argmax(share * (at + 1) - counts)
        counts[pattern[at]] += 1
    return pattern
