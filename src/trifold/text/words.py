"""Where words begin, for every tokenizer: Chinese by segmentation, everything else by runs of letters and digits."""

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["mostly_chinese", "word_starts"]

RUNS = re.compile(r"(?P<han>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+)|[^\W_]+|\s+|.", re.DOTALL)


def word_starts(text: str, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each token begins a word: its first visible character is of another word than that of the token before.

    Works from places in the text alone, so it is right for word pieces, byte pairs (also for tokens that hold a part of
    a character) and Unigram pieces, whatever they write for a space.

    Args:
        text: what was encoded.
        offsets: begin and end of each token in `text`, in characters, [tokens, 2].

    Example:
        >>> word_starts("good day", np.array([[0, 2], [2, 4], [4, 8]])).tolist()
        [True, False, True]
    """
    if len(offsets) == 0:
        return np.zeros(0, dtype=np.bool_)
    words, visible = _words(text)
    begins = np.minimum(offsets[:, 0], len(text) - 1)
    # a token may begin with the space before its word: look at the first visible character, if it has one
    first = np.minimum(visible[begins], np.maximum(offsets[:, 1] - 1, begins))
    mine = words[first]
    return np.concatenate([[True], mine[1:] != mine[:-1]])


def _words(text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each character the number of its word, and the place of the next visible character."""
    numbers = np.zeros(max(len(text), 1), dtype=np.int64)
    visible = np.arange(max(len(text), 1))
    count = 0
    for run in RUNS.finditer(text):
        start, end = run.span()
        if run.lastgroup == "han":
            for word in _segment(run.group()):
                numbers[start : start + len(word)] = count
                start, count = start + len(word), count + 1
            continue
        numbers[start:end] = count
        if run.group()[0].isspace():
            visible[start:end] = min(end, len(text) - 1)
        count += 1
    return numbers, visible


def _segment(run: str) -> list[str]:
    import rjieba

    return rjieba.cut(run)


def mostly_chinese(texts: Iterable[str]) -> bool:
    """Whether at least a third of the characters are Han.

    Example:
        >>> mostly_chinese(["北京 is a city"]), mostly_chinese(["北京的 city"]), mostly_chinese([])
        (False, True, False)
    """
    text = "".join(texts)
    return sum("\u4e00" <= one <= "\u9fff" for one in text) * 3 >= len(text) > 0
