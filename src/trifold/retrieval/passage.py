"""Terms to look texts up by, names of subjects, and documents cut into passages with exact offsets."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Passage", "best_sentence", "fold", "names_of", "sentences_of", "split_passages", "terms_of"]

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\U00020000-\U000323af"
RUN = re.compile(rf"(?P<han>[{HAN}]+)|(?P<word>[^\W_{HAN}]+)")
UNIT = re.compile(rf"[{HAN}]{{1,3}}|[^\W_{HAN}]{{1,24}}|(?:[^\w\s]|_){{24}}")
"""What counts as one word: a word, three Han characters, or a long row of signs."""
PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
ABBREVIATED = "".join(
    rf"(?<!\b{word})" for word in ("Mr", "Mrs", "Ms", "Dr", "St", "Prof", "vs", "No", "Nr", "z.B", "e.g", "i.e")
)
SENTENCE = re.compile(
    rf"[。！？；…]+[”’」』）》\"]*|{ABBREVIATED}[.!?]+[\"”’)\]]*(?=\s)|[!?]+(?=[{HAN}])|\n"  # what closes belongs to it
)
ENDINGS = (("sses", "ss"), ("ies", "y"), ("ss", "ss"), ("s", ""))
TARGET = 100
"""Size of a passage: 100 words, or 300 Han characters."""


def fold(text: str) -> str:
    """A text without case and width, to compare names by.

    Example:
        >>> fold("ＮＬＰ（小说）")
        'nlp(小说)'
    """
    return unicodedata.normalize("NFKC", text).lower()


def terms_of(text: str) -> list[str]:
    """What a text can be found by: words without case, accents, width and plural, and pairs of Chinese characters.

    Example:
        >>> terms_of("Étoiles, 红楼梦!")
        ['etoile', '红楼', '楼梦']
    """
    plain = unicodedata.normalize("NFKD", fold(text))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    terms: list[str] = []
    for run in RUN.finditer(plain):
        if run["han"]:
            letters = run["han"]
            terms += [letters[n : n + 2] for n in range(len(letters) - 1)] or [letters]
        else:
            terms.append(_stem(run["word"]))
    return terms


def _stem(word: str) -> str:
    """A word without its plural ending (the first rules of Harman's S-stemmer, 1991)."""
    if len(word) > 3:
        for ending, instead in ENDINGS:
            if word.endswith(ending) and not (ending == "s" and word.endswith("us")):
                return word[: -len(ending)] + instead
    return word


def names_of(subject: str) -> list[str]:
    """What a subject of triples is called: its name, and the name without brackets and what stands in round ones.

    Example:
        >>> names_of("《红楼梦》（小说）")
        ['《红楼梦》(小说)', '红楼梦']
    """
    whole = fold(subject).strip()
    bare = re.sub(r"\([^)]*\)", "", whole)
    bare = re.sub(r"[《》“”\"]", "", bare).strip()
    return list(dict.fromkeys(name for name in (whole, bare) if name))


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

    Three Han characters count as a word. Nothing but white space lies between passages.

    Example:
        >>> [passage.text for passage in split_passages("One two. Three four.", target=2)]
        ['One two.', 'Three four.']
    """
    passages: list[Passage] = []
    start = end = -1
    size = 0
    for first, last in _pieces(text, target):
        weight = max(_size(text, first, last), 1)
        if size and size + weight > target:
            passages.append(Passage(text[start:end], start, end))
            size = 0
        start = first if not size else start
        end, size = last, size + weight
    if size:
        passages.append(Passage(text[start:end], start, end))
    return passages


def sentences_of(text: str) -> list[Passage]:
    """The sentences of a text, without the white space around them.

    Example:
        >>> [sentence.text for sentence in sentences_of("长江很长。The Nile is longer. Mr. Li has seen both.")]
        ['长江很长。', 'The Nile is longer.', 'Mr. Li has seen both.']
    """
    cuts = [0, *(cut.end() for cut in SENTENCE.finditer(text)), len(text)]
    places = (_stripped(text, one, two) for one, two in pairwise(cuts))
    return [Passage(text[start:end], start, end) for start, end in places if end > start]


def best_sentence(question: str, text: str) -> Passage:
    """The sentence of a text that shares most with a question, rare terms counting more; the first where none does.

    Args:
        question: in plain words.
        text: which is not blank.

    Example:
        >>> best_sentence("Where does the Nile end?", "The Nile is long. The Nile ends in Egypt.").start
        18
    """
    asked, counts = set(terms_of(question)), Counter(terms_of(text))

    def shared(sentence: Passage) -> float:
        return sum(1 / counts[term] for term in set(terms_of(sentence.text)) & asked)

    return max(sentences_of(text), key=shared)  # of equals, the first


def _pieces(text: str, target: int) -> list[tuple[int, int]]:
    """Paragraphs, or the sentences of those that are too long, without the white space around them."""
    pieces: list[tuple[int, int]] = []
    place = 0
    for mark in [*PARAGRAPH.finditer(text), None]:
        stop = len(text) if mark is None else mark.start()
        if _size(text, place, stop) <= target:
            pieces.append(_stripped(text, place, stop))
        else:
            cuts = [place, *(cut.end() for cut in SENTENCE.finditer(text, place, stop)), stop]
            pieces += [part for one, two in pairwise(cuts) for part in _cut(text, one, two, target)]
        place = stop if mark is None else mark.end()
    return [(one, two) for one, two in pieces if two > one]


def _cut(text: str, start: int, stop: int, target: int) -> list[tuple[int, int]]:
    """A sentence, or pieces of `target` words of one that is longer."""
    units = [unit.start() for unit in UNIT.finditer(text, start, stop)]
    return [_stripped(text, one, two) for one, two in pairwise([start, *units[target::target], stop])]


def _stripped(text: str, start: int, stop: int) -> tuple[int, int]:
    part = text[start:stop]
    return start + len(part) - len(part.lstrip()), stop - (len(part) - len(part.rstrip()))


def _size(text: str, start: int, stop: int) -> int:
    return sum(1 for _ in UNIT.finditer(text, start, stop))
