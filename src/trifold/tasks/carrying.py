"""Strings that a translation leaves as they are, carried over by stand-ins.

    See https://example.org at 17:45.    ->  See <extra_id_0> at <extra_id_1>.
    17:45 请看 https://example.org。     ->  <extra_id_1> 请看 <extra_id_0>。

A model that learns from a person's pairs alone cannot write an address that it has not seen: no tokenizer of its own makes
it one symbol. So what stands on both sides of a pair becomes a stand-in, a token of the vocabulary; so does, when a text is
translated, what stands in the source, and it takes the place of its stand-in in what is written (Luong et al. 2015,
"Addressing the rare word problem", section 3.1; Crego et al. 2016, section 3.2). `trifold.generation.owed` holds the model
to each stand-in.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import groupby, pairwise
from typing import TypeAlias

import numpy as np

from trifold.config import require
from trifold.example import Ids
from trifold.tasks.units import joined
from trifold.text import Tokenizer
from trifold.text.verbatim import find_verbatim

__all__ = ["COUNT", "STAND_INS", "Carrier", "Parts", "carry", "carry_pair"]

COUNT = 16
"""Strings of one sentence that can be carried; further ones are translated as the text that they are."""
STAND_INS = tuple(f"<extra_id_{number}>" for number in range(COUNT))
"""Tokenizers that are trained here have these in any case, for models that restore spans."""

Parts: TypeAlias = tuple[str | int, ...]
"""A text with the numbers of stand-ins in it."""
Piece: TypeAlias = tuple[int | None, str]
"""A piece of what was written, with the number of the stand-in in whose place it is."""


def carry(text: str) -> tuple[Parts, list[str]]:
    """A text to translate, a stand-in for each string in it; and these strings.

    Example:
        >>> carry("at 17:45")
        (('at ', 0), ['17:45'])
    """
    spans = find_verbatim(text)[:COUNT]
    return with_stand_ins(text, spans, range(len(spans))), [text[start:end] for start, end in spans]


def carry_pair(source: str, target: str) -> tuple[Parts, Parts]:
    """Both sides of a pair, with a stand-in for each string that stands on both equally often, in the order of the source.

    Example:
        >>> carry_pair("5 of 7 dogs", "7条狗中的五条")
        (('5 of ', 0, ' dogs'), (0, '条狗中的五条'))
    """
    sides = [(text, find_verbatim(text)) for text in (source, target)]
    counts = [Counter(text[start:end] for start, end in spans) for text, spans in sides]
    both = {string for string, count in counts[0].items() if counts[1][string] == count}
    kept = [[(start, end) for start, end in spans if text[start:end] in both] for text, spans in sides]
    if len(kept[0]) > COUNT:
        kept = [[], []]
    waiting: dict[str, list[int]] = {}
    for number, (start, end) in enumerate(kept[0]):
        waiting.setdefault(source[start:end], []).append(number)
    order = [waiting[target[start:end]].pop(0) for start, end in kept[1]]
    return with_stand_ins(source, kept[0], range(len(order))), with_stand_ins(target, kept[1], order)


def with_stand_ins(text: str, spans: Sequence[tuple[int, int]], numbers: Sequence[int]) -> Parts:
    """A text with stand-ins in the place of some of it.

    Example:
        >>> with_stand_ins("at 17:45", [(3, 8)], [4])
        ('at ', 4)
    """
    parts, before = list[str | int](), 0
    for (start, end), number in zip(spans, numbers, strict=True):
        parts += [text[before:start], number]
        before = end
    return tuple(part for part in [*parts, text[before:]] if part != "")


class Carrier:
    """Texts with stand-ins as tokens, and back.

    Args:
        tokenizer: has the stand-ins.

    Raises:
        ConfigError: it has them not.

    Example:
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["to be at 17:45"] * 9, kind="byte_bpe", vocab_size=400)
        >>> carrier, (parts, strings) = Carrier(tokenizer), carry("See https://example.org at 23:59.")
        >>> carrier.text(carrier.encode([parts])[0].tolist(), parts, strings)
        'See https://example.org at 23:59.'
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = [tokenizer.token_to_id(token) for token in STAND_INS]
        self.ids = [found for found in ids if found is not None]
        allowed = f"false: the tokenizer has no {STAND_INS[-1]}"
        require(len(self.ids) == COUNT, where="task.verbatim", given=True, allowed=allowed)
        self.tokenizer, self.numbers = tokenizer, {token: number for number, token in enumerate(self.ids)}
        self.keeps_spaces = tokenizer.decode(tokenizer.encode_ids([" a "], plain=True)[0]) == " a "

    def encode(self, texts: Sequence[Parts], *, target: bool = False) -> list[Ids]:
        """The ids of each text; what a user wrote like a stand-in is text."""
        tokenizer = self.tokenizer.for_target() if target else self.tokenizer
        read = iter(
            tokenizer.encode_ids([text for parts in texts for text in parts if isinstance(text, str)], plain=True)
        )
        return [
            self._joined([self._token(text) if isinstance(text, int) else next(read) for text in parts])
            for parts in texts
        ]

    def _token(self, number: int) -> Ids:
        return np.array([self.ids[number]], dtype=np.int64)

    @staticmethod
    def _joined(ids: Sequence[Ids]) -> Ids:
        return ids[0] if len(ids) == 1 else np.concatenate([np.empty(0, dtype=np.int64), *ids])

    def text(self, ids: Sequence[int], carried: Parts, strings: Sequence[str]) -> str:
        """What was written, with the strings in the places of their stand-ins, none of them run into another.

        Args:
            ids: as they were written.
            carried: the source with its stand-ins.
            strings: that these stand for.
        """
        touching, parts = {*pairwise(carried)}, list[Piece]()
        for number, tokens in groupby(ids, self.numbers.get):
            if number is None:
                parts.append((None, self.tokenizer.decode(tokens).replace("\ufffd", "")))
            elif number < len(strings):
                parts.append((number, strings[number]))
        parts = [(number, text) for number, text in parts if text]
        if not self.keeps_spaces:
            return joined([text for _, text in parts], "words")
        spaces = ["", *(" " * _run_together(*pair, touching) for pair in pairwise(parts))]
        return "".join(space + text for space, (_, text) in zip(spaces, parts, strict=False))


def _run_together(before: Piece, after: Piece, touching: Collection[Sequence[object]]) -> bool:
    """Whether two strings that were apart would meet, or a digit would meet another."""
    numbers = before[0], after[0]
    return (None not in numbers and numbers not in touching) or (before[1][-1].isdigit() and after[1][0].isdigit())
