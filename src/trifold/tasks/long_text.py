"""Texts longer than those of training, cut at sentences, and what was written for the parts put together again."""

from collections.abc import Callable
from dataclasses import dataclass

from trifold.retrieval.passage import sentences_of
from trifold.tasks.units import HAN, WIDE
from trifold.text.verbatim import masked

__all__ = ["Piece", "cut_at_sentences", "put_together"]


@dataclass(frozen=True, slots=True)
class Piece:
    r"""A part of a text.

    Attributes:
        text: without white space around it; empty for a text that has nothing else.
        gap: the white space after it, where that breaks a line.

    Example:
        >>> Piece("A dog.", "\n").gap
        '\n'
    """

    text: str
    gap: str = ""


def cut_at_sentences(text: str, fits: Callable[[str], bool]) -> list[Piece]:
    r"""A text whole where it fits; otherwise as many of its sentences together as do, never across a line's end.

    No sentence ends inside an address, a number, code or their like; one that does not fit by itself is a part all the
    same.

    Example:
        >>> [piece.text for piece in cut_at_sentences("A dog. A cat. A bird.", lambda part: len(part) < 15)]
        ['A dog. A cat.', 'A bird.']
    """
    if fits(text):
        return [Piece(text)]
    pieces: list[Piece] = []
    start = end = 0
    for sentence in sentences_of(masked(text)):
        gap = text[end : sentence.start]
        breaks = "\n" in gap or not end
        if pieces and not breaks and fits(text[start : sentence.end]):
            pieces[-1] = Piece(text[start : sentence.end])
        else:
            if pieces and breaks:
                pieces[-1] = Piece(pieces[-1].text, gap)
            pieces.append(Piece(text[sentence.start : sentence.end]))
            start = sentence.start
        end = sentence.end
    return pieces or [Piece("")]


def put_together(written: list[str], pieces: list[Piece]) -> str:
    """What was written for the parts of a text, with its line breaks; elsewhere a space, but not beside Chinese.

    Example:
        >>> put_together(["一条狗。", "一只猫。"], [Piece("A dog."), Piece("A cat.")])
        '一条狗。一只猫。'
    """
    whole = ""
    for text, piece in zip(map(str.strip, written), pieces, strict=True):
        tight = not whole or whole[-1].isspace() or not text or _is_wide(whole[-1]) or _is_wide(text[0])
        whole += ("" if tight else " ") + text + piece.gap
    return whole.strip()


def _is_wide(character: str) -> bool:
    return bool(HAN.match(character) or WIDE.match(character))
