"""What a tagger puts its labels on: characters, words, or what stands between spaces; found in the data, kept for use."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["cut", "find_units", "joined", "places", "spaced"]

HAN = re.compile(
    r"[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
)
"""Characters that need no space between words: Chinese ones, and kana."""
WIDE = re.compile(r"[\u3000-\u303f\uff00-\uff65\u2014\u2018-\u201d\u2026\u00b7]")
"""Punctuation that Chinese texts use, which needs none either."""
FIXED = {
    **dict.fromkeys("'’.-_@&", "j"),
    **dict.fromkeys(",:/", "c"),
    **dict.fromkeys("\ufe0e\ufe0f\u20e3\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff", "m"),
    "\u200d": "z",
}
"""What joins letters, what joins digits, what alters the picture before it, what joins two pictures."""
CLASSES = re.compile(r"h|[wd]+(?:j[wd]+|(?<=d)c(?=d)[wd]+)*|[pjc](?:m|zp)*|[mz]+")
"""A Han character; letters and digits, with what joins them; any other mark, with what alters a picture; that by itself."""
CLITIC = re.compile(r"(?i)n['’]t$|['’](?:s|m|d|ll|re|ve)$")
ENOUGH = 20_000


def cut(text: str, units: str) -> tuple[str, ...]:
    """The units of a text.

    Args:
        text: a sentence.
        units: `characters`: each that is no white space; `words`: words and punctuation marks, each Han character by
            itself; `treebank`: the same, with `n't`, `'s` and their like cut off; `segments`: the same as words, with runs
            of Han characters cut into words; `spaces`: what stands between white space.

    Example:
        >>> cut("Anna isn't in 北京.", "words"), cut("Anna isn't in.", "treebank")
        (('Anna', "isn't", 'in', '北', '京', '.'), ('Anna', 'is', "n't", 'in', '.'))
        >>> cut("Anna in 北京.", "spaces"), cut("a 北京", "characters")
        (('Anna', 'in', '北京.'), ('a', '北', '京'))
    """
    if units == "spaces":
        return tuple(text.split())
    if units == "characters":
        return tuple("".join(text.split()))
    classes = "".join(map(_class_of, text))
    words = [text[match.start() : match.end()] for match in CLASSES.finditer(classes)]
    if units == "segments":
        return tuple(_segmented(text, classes))
    return tuple(part for word in words for part in _without_clitic(word)) if units == "treebank" else tuple(words)


def _class_of(character: str) -> str:
    if character in FIXED:
        return FIXED[character]
    if HAN.match(character):
        return "h"
    kind = unicodedata.category(character)
    return "s" if character.isspace() else "d" if kind == "Nd" else "w" if kind[0] in "LMN" else "p"


def _without_clitic(word: str) -> list[str]:
    found = CLITIC.search(word)
    return [word] if found is None or not found.start() else [word[: found.start()], word[found.start() :]]


def _segmented(text: str, classes: str) -> list[str]:
    """Words, those of Chinese by a dictionary."""
    import rjieba

    words = []
    for run in re.finditer(r"h+|[^h]+", classes):
        piece = text[run.start() : run.end()]
        words += rjieba.cut(piece) if run[0][0] == "h" else cut(piece, "words")
    return words


def find_units(sentences: Iterable[Sequence[str]]) -> str:
    """What the tokens of a data set are.

    Example:
        >>> find_units([["我", "爱", "北", "京"]]), find_units([["我", "爱", "北京"]]), find_units([["在", "2008", "年"]])
        ('characters', 'segments', 'words')
        >>> find_units([["in", "Berlin", "."]]), find_units([["in", "Berlin."]]), find_units([["do", "n't", "!"]])
        ('words', 'spaces', 'treebank')
    """
    counts: Counter[str] = Counter()
    for sentence in sentences:
        for token in sentence:
            counts.update(_traits(token))
        if counts["tokens"] > ENOUGH:
            break
    if not counts["long"]:
        return "characters"
    if counts["chinese_words"] * 10 > counts["chinese"]:
        return "segments"
    if counts["attached"] > counts["marks"]:
        return "spaces"
    return "treebank" if counts["clitics"] else "words"


def _traits(token: str) -> list[str]:
    han, pieces = len(HAN.findall(token)), cut(token, "words")
    traits = {
        "tokens": True,
        "long": len(token.strip()) > 1,
        "chinese": han > 0,
        "chinese_words": han > 1,
        "attached": han < 2 and len(pieces) > 1,
        "marks": len(pieces) == 1 and not any(one.isalnum() for one in token),
        "clitics": CLITIC.fullmatch(token) is not None,
    }
    return [name for name, holds in traits.items() if holds]


def spaced(words: Sequence[str], units: str) -> list[bool]:
    """Whether a space stands before each word of a sentence: never beside a Chinese character.

    Example:
        >>> spaced(["in", "Berlin", "北", "京"], "words")
        [False, True, False, False]
    """
    if units == "characters":
        return [False] * len(words)
    tight = [_is_tight(word[-1:]) for word in words], [_is_tight(word[:1]) for word in words]
    return [number > 0 and not (tight[0][number - 1] or tight[1][number]) for number in range(len(words))]


def _is_tight(character: str) -> bool:
    return bool(HAN.match(character) or WIDE.match(character))


def joined(words: Sequence[str], units: str) -> str:
    """The sentence that words make.

    Example:
        >>> joined(["in", "Berlin", "北", "京"], "words")
        'in Berlin北京'
    """
    return "".join(f" {word}" if apart else word for word, apart in zip(words, spaced(words, units), strict=True))


def places(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where words, which were cut from a text or made it, stand in it.

    Example:
        >>> places("in Berlin", ["in", "Berlin"])
        [(0, 2), (3, 9)]
    """
    spans, end = [], 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        spans.append((start, end))
    return spans
