"""Which texts stand whole inside others: parts of one sentence must not be both trained on and judged on."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from trifold.tasks.baseline import TERM

__all__ = ["containers"]

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
LEAST, MOST = 3, 32
"""Words of a text that is looked for in others: fewer stand in many by chance, and more are not looked for."""


def containers(texts: Sequence[str]) -> list[int]:
    """For each text the number of the longest that has all its words in a row; its own where there is none.

    Case, white space and punctuation do not count, and each Han character is a word. Which text is found depends on what
    the texts are, not on their order. Runs are compared by a polynomial hash of 64 bits (Karp and Rabin 1987).

    Example:
        >>> containers(["a good film", "It is a good film, truly.", "good film", "A good film!"])
        [1, 1, 2, 1]
    """
    order = sorted(range(len(texts)), key=texts.__getitem__)
    words, sizes = _numbered([texts[number] for number in order])
    owners, starts = np.repeat(np.arange(len(texts)), sizes), sizes.cumsum() - sizes
    longest = np.arange(len(texts))
    for length, runs in _runs(words, sizes):
        looked_for = np.flatnonzero(sizes == length)
        inside = owners[: len(runs)] == owners[length - 1 :]
        inside &= np.isin(runs, runs[starts[looked_for]])
        hashes, holders = runs[inside], owners[: len(runs)][inside]
        ordered = np.lexsort((holders, -sizes[holders], hashes))
        different, first = np.unique(hashes[ordered], return_index=True)
        longest[looked_for] = holders[ordered][first[np.searchsorted(different, runs[starts[looked_for]])]]
    while (longest[longest] != longest).any():
        longest = longest[longest]
    numbers = np.empty(len(texts), np.int64)
    numbers[order] = np.array(order, np.int64)[longest]
    return numbers.tolist()


def _numbered(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The words of all texts one after the other, as numbers, and how many each text has."""
    number: dict[str, int] = {}
    rows = [[number.setdefault(word, len(number) + 1) for word in re.findall(TERM, text.lower())] for text in texts]
    words = np.fromiter((word for row in rows for word in row), np.uint64)
    return words, np.array([len(row) for row in rows], np.int64)


def _runs(words: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """For each length that a text has, a hash of the run of so many words that begins at each word."""
    lengths = set(sizes.tolist())
    hashes = np.zeros(len(words), np.uint64)
    for length in range(1, min(max(lengths, default=0), MOST) + 1):
        hashes = hashes[: len(words) - length + 1] * MULTIPLIER + words[length - 1 :]
        if length >= LEAST and length in lengths:
            yield length, hashes
