"""What an objective makes of a piece of text: arrays for one document of a batch, not yet packed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Extras", "Ids", "Piece", "TrainingExample"]

Ids = NDArray[np.int64]
Extras = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one document, as a token store gives it.

    Attributes:
        ids: its tokens.
        previous: the token before it; None where the document begins.
        word_starts: whether each token begins a word; None where that was not asked for.
        target: the other side of a pair; None for plain text.
        room: places in a row, on the encoder's and the decoder's side; 0 for no limit.

    Example:
        >>> Piece(np.array([5, 6])).previous is None
        True
    """

    ids: Ids
    previous: int | None = None
    word_starts: NDArray[np.bool_] | None = None
    target: Ids | None = None
    room: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One document of a batch.

    Attributes:
        labels: what to predict at each place of `target` (of `source` where there is no target); IGNORED for nothing.
        source: what the encoder reads; None without encoder.
        target: what the decoder reads; None without decoder.
        prefix: how many first tokens of `target` all of it may see.
        num_bytes: bytes of raw text that the labels stand for; 0 where nobody counts.
        extras: what the loss needs beside the labels, by name: a row of numbers.

    Example:
        >>> TrainingExample(labels=np.array([2]), target=np.array([1])).source_length
        0
    """

    labels: Ids
    source: Ids | None = None
    target: Ids | None = None
    prefix: int = 0
    num_bytes: int = 0
    extras: Extras = field(default_factory=dict)

    @property
    def source_length(self) -> int:
        """Tokens for the encoder."""
        return 0 if self.source is None else len(self.source)

    @property
    def target_length(self) -> int:
        """Tokens for the decoder."""
        return 0 if self.target is None else len(self.target)
