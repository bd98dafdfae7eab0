"""Whether a test text stands in the training data already, whole or in large part."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Contamination", "find_overlap"]

TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W_]+")


@dataclass(frozen=True, slots=True)
class Contamination:
    """Which test texts the training data know.

    Attributes:
        exact: numbers of test texts that stand in the training data word for word.
        near: numbers of those that share at least the asked part of their n-grams with it, exact ones included.
    """

    exact: tuple[int, ...]
    near: tuple[int, ...]


def find_overlap(train: Iterable[str], test: Sequence[str], *, order: int = 8, share: float = 0.5) -> Contamination:
    """Compare by n-grams of words; each Han character counts as a word. Case, width and punctuation do not matter.

    Texts shorter than `order` are compared whole. Memory holds eight bytes a training n-gram that also occurs in the
    test texts, and no other.

    Args:
        train: training texts, read once.
        test: test texts.
        order: words in an n-gram.
        share: part of a text's n-grams that makes it near.

    Example:
        >>> find_overlap(["A good film."], ["a good film", "a bad film"])
        Contamination(exact=(0,), near=(0,))
    """
    tokens = [_tokens(text) for text in test]
    wanted = {gram for words in tokens for gram in _grams(words, order)}
    whole = {_digest(words) for words in tokens}
    seen: set[bytes] = set()
    seen_whole: set[bytes] = set()
    for text in train:
        words = _tokens(text)
        seen.update(gram for gram in _grams(words, order) if gram in wanted)
        digest = _digest(words)
        if digest in whole:
            seen_whole.add(digest)
    exact = tuple(number for number, words in enumerate(tokens) if words and _digest(words) in seen_whole)
    near = []
    for number, words in enumerate(tokens):
        grams = list(_grams(words, order))
        known = sum(gram in seen for gram in grams)
        if number in set(exact) or (grams and known >= share * len(grams)):
            near.append(number)
    return Contamination(exact, tuple(near))


def _tokens(text: str) -> list[str]:
    return TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def _grams(words: list[str], order: int) -> Iterator[bytes]:
    return (_digest(words[start : start + order]) for start in range(len(words) - order + 1))


def _digest(words: Sequence[str]) -> bytes:
    return hashlib.blake2b("\x1f".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
