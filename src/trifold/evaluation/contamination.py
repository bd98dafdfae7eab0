"""Whether a test text stands in the training data already, whole or in large part.

Texts are compared as rows of words, each Han character being one word; case, width and punctuation do not matter. Near
copies share n-grams: of 8 words, or of 13 where at least half of a text's words are Han characters, for a character says
less than a word. Only words of the test texts get a number, so that a training text is a row of small numbers in which
most n-grams need no look-up; an n-gram is a polynomial over 64-bit numbers, the same in every process.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trifold.errors import ConfigError

__all__ = ["Contamination", "find_overlap"]

HAN = "\u3400-\u9fff\U00020000-\U0003ffff"
TOKEN = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")
IS_HAN = re.compile(rf"[{HAN}]")
GROUP = 2**18
"""Training words that are looked up at once."""
UNKNOWN = -1
"""Number of a word that no test text has, and of the border between two texts."""
BASE = np.uint64(0x9E3779B97F4A7C15)

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Contamination:
    """Which test texts the training data know.

    Attributes:
        exact: numbers of test texts that stand in the training data word for word.
        near: numbers of those that share at least the asked part of their n-grams with it, exact ones included.
        shares: of every test text, the part of its n-grams that the training data have; 0 where it is too short for one.

    Example:
        >>> Contamination(exact=(), near=(0,), shares=(0.75, 0.0)).near
        (0,)
    """

    exact: tuple[int, ...]
    near: tuple[int, ...]
    shares: tuple[float, ...]


def find_overlap(
    train: Iterable[str], test: Sequence[str], *, order: int = 8, han_order: int = 13, share: float = 0.5
) -> Contamination:
    """Look for test texts among training texts.

    A text that is shorter than an n-gram is compared as a whole only. Memory grows with the test texts, not with the
    training texts.

    Args:
        train: training texts, read once.
        test: test texts.
        order: words in an n-gram.
        han_order: words in an n-gram of a text at least half of whose words are Han characters.
        share: part of a text's n-grams that makes it near.

    Raises:
        ConfigError: an order below 1, or a share outside 0 to 1.

    Example:
        >>> find_overlap(["A good film."], ["a good film", "a bad film"])
        Contamination(exact=(0,), near=(0,), shares=(0.0, 0.0))
    """
    for where, value, fits in (
        ("order", order, order >= 1),
        ("han_order", han_order, han_order >= 1),
        ("share", share, 0 < share <= 1),
    ):
        if not fits:
            allowed = "above 0, at most 1" if where == "share" else "1 or more"
            raise ConfigError("config.out_of_range", where=where, given=value, allowed=allowed)
    words = [_words(text) for text in test]
    number = {word: place for place, word in enumerate(dict.fromkeys(word for row in words for word in row))}
    rows = [tuple(number[word] for word in row) for row in words]
    orders = [han_order if 2 * sum(map(_is_han, row)) >= len(row) > 0 else order for row in words]
    keys = [_keys(np.array(row, np.int64), length) for row, length in zip(rows, orders, strict=True)]
    wanted = {
        length: np.unique(np.concatenate([row for row, own in zip(keys, orders, strict=True) if own == length]))
        for length in set(orders)
    }
    seen, whole = _search(train, number, wanted, set(rows))
    shares = tuple(
        float(seen[length][_places(wanted[length], row)].mean()) if len(row) else 0.0
        for row, length in zip(keys, orders, strict=True)
    )
    exact = tuple(place for place, row in enumerate(rows) if row and row in whole)
    near = sorted({*exact, *(place for place, known in enumerate(shares) if known >= share)})
    return Contamination(exact, tuple(near), shares)


def _search(
    train: Iterable[str], number: Mapping[str, int], wanted: Mapping[int, Keys], rows: set[tuple[int, ...]]
) -> tuple[dict[int, NDArray[np.bool_]], set[tuple[int, ...]]]:
    """Which of the wanted n-grams of each order, and which of the whole texts, the training texts have."""
    seen = {length: np.zeros(len(grams), bool) for length, grams in wanted.items()}
    whole: set[tuple[int, ...]] = set()
    for texts in _groups(train, number):
        whole |= rows.intersection(texts)
        stream = np.array([one for text in texts for one in (*text, UNKNOWN)], np.int64)
        for length, grams in wanted.items():
            seen[length][_places(grams, _keys(stream, length))] = True
    return seen, whole


def _groups(texts: Iterable[str], number: Mapping[str, int]) -> Iterator[list[tuple[int, ...]]]:
    """Rows of word numbers, so many together that numpy is worth its calls."""
    group: list[tuple[int, ...]] = []
    size = 0
    for text in texts:
        group.append(tuple(number.get(word, UNKNOWN) for word in _words(text)))
        size += len(group[-1])
        if size > GROUP:
            yield group
            group, size = [], 0
    yield group


def _words(text: str) -> list[str]:
    return TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def _is_han(word: str) -> bool:
    return IS_HAN.match(word) is not None


def _keys(stream: NDArray[np.int64], length: int) -> Keys:
    """The n-grams of a row of words that hold no unknown one."""
    count = len(stream) - length + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    code = _scatter(stream.astype(np.uint64))
    keys = np.zeros(count, np.uint64)
    for place in range(length):
        keys = keys * BASE + code[place : place + count]  # wraps at 2^64
    unknown = np.concatenate([[0], np.cumsum(stream == UNKNOWN)])
    return keys[unknown[length:] == unknown[:-length]]


def _scatter(numbers: Keys) -> Keys:
    """Numbers that look random, one for each number (the finalizer of SplitMix64, Steele et al. 2014)."""
    mixed = (numbers + np.uint64(1)) * BASE
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _places(grams: Keys, keys: Keys) -> NDArray[np.int64]:
    """Where the keys stand among the sorted n-grams; those that do not are left out."""
    if not len(grams):
        return np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(grams, keys), len(grams) - 1)
    return place[grams[place] == keys]
