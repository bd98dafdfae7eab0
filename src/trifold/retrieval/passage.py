"""Terms to look texts up by, and documents cut into passages with exact offsets."""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Passage", "split_passages", "terms_of"]

RUN = re.compile(r"(?P<han>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff]+)|(?P<word>[^\W_]+)")
PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
SENTENCE = re.compile(r"(?<=[。！？；!?])|(?<=\.)(?=\s)|(?<=\n)")
ENDINGS = (("sses", "ss"), ("ies", "y"), ("ss", "ss"), ("s", ""))
TARGET = 100
"""Size of a passage, in words; two Han characters count as one."""


def terms_of(text: str) -> list[str]:
    """What a text can be found by: words without case, accents, width and plural, and pairs of Chinese characters.

    Example:
        >>> terms_of("Étoiles, 红楼梦!")
        ['etoile', '红楼', '楼梦']
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).lower())
    plain = "".join(one for one in plain if not unicodedata.combining(one))
    found: list[str] = []
    for run in RUN.finditer(plain):
        if run["han"]:
            letters = run["han"]
            found += [letters[n : n + 2] for n in range(len(letters) - 1)] or [letters]
        else:
            found += _words(run["word"])
    return found


def _words(run: str) -> list[str]:
    """A run of letters and digits without its plural ending (the first rules of Harman's S-stemmer, 1991)."""
    if len(run) > 3:
        for ending, instead in ENDINGS:
            if run.endswith(ending) and not (ending == "s" and run.endswith("us")):
                return [run[: -len(ending)] + instead]
    return [run]


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document.

    Attributes:
        text: `document_text[start:end]`.
        start, end: place in the document's text, in characters.

    Example:
        >>> Passage("one", 0, 3).end
        3
    """

    text: str
    start: int
    end: int


def split_passages(text: str, *, target: int = TARGET) -> list[Passage]:
    """Passages of about `target` words: short paragraphs together, long ones cut at the ends of sentences.

    Example:
        >>> [one.text for one in split_passages("One two. Three four.", target=2)]
        ['One two.', 'Three four.']
    """
    found: list[Passage] = []
    start = end = -1
    size = 0
    for first, last in _pieces(text, target):
        weight = max(_size(text[first:last]), 1)
        if size and size + weight > target:
            found.append(Passage(text[start:end], start, end))
            size = 0
        start = first if not size else start
        end, size = last, size + weight
    if size:
        found.append(Passage(text[start:end], start, end))
    return found


def _pieces(text: str, target: int) -> list[tuple[int, int]]:
    """Paragraphs, or the sentences of those that are too long, without the white space around them."""
    pieces: list[tuple[int, int]] = []
    place = 0
    for mark in [*PARAGRAPH.finditer(text), None]:
        stop = len(text) if mark is None else mark.start()
        whole = _stripped(text, place, stop)
        if _size(text[slice(*whole)]) <= target:
            pieces.append(whole)
        else:
            cuts = [place, *(place + cut.start() for cut in SENTENCE.finditer(text[place:stop])), stop]
            pieces += [part for one, two in pairwise(cuts) for part in _cut(text, one, two, target)]
        place = stop if mark is None else mark.end()
    return [(one, two) for one, two in pieces if two > one]


def _cut(text: str, start: int, stop: int, target: int) -> list[tuple[int, int]]:
    """A sentence, or pieces of fixed length of one without an end."""
    longest = 12 * target
    return [_stripped(text, at, min(at + longest, stop)) for at in range(start, stop, longest)]


def _stripped(text: str, start: int, stop: int) -> tuple[int, int]:
    part = text[start:stop]
    return start + len(part) - len(part.lstrip()), stop - (len(part) - len(part.rstrip()))


def _size(text: str) -> int:
    return sum(-(-len(run["han"]) // 2) if run["han"] else 1 for run in RUN.finditer(text))
