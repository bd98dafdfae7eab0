"""Which text is trained on and which is held out, and the token stores of both.

What is held out is decided by characters, before there is a tokenizer: one that had seen held-out text would have made its
words tokens, and the text would look easier than it is.
"""

import os
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from pathlib import Path
from typing import Literal

from trifold.data.source import Example
from trifold.data.store import StoreWriter
from trifold.errors import DataError
from trifold.text import Tokenizer

__all__ = ["Split", "build_stores", "plan_split"]

STRETCHES, SHORTEST = 16, 1000
"""At most so many stretches of one text are held out, of so many characters or more."""
LINE = 400
"""A border is moved to the next end of a line, where there is one within so many characters."""


@dataclass(frozen=True, slots=True)
class Split:
    """What is held out: every so many-th document, or stretches of the text.

    Attributes:
        every: of documents; 0 for none.
        stretches: their first characters and those behind their last, counted over all documents, in rising order.

    Example:
        >>> [example.texts[0] for example in Split(stretches=((1, 2),)).train([Example(("abc",))])]
        ['a', 'c']
    """

    every: int = 0
    stretches: tuple[tuple[int, int], ...] = ()

    def train(self, examples: Iterable[Example]) -> Iterator[Example]:
        """What is trained on."""
        return (example for held, example in self.sides(examples) if not held)

    def sides(self, examples: Iterable[Example]) -> Iterator[tuple[bool, Example]]:
        """All of it, each part with whether it is held out; what is left around a stretch is two documents."""
        return self._by_stretches(examples) if self.stretches else self._by_documents(examples)

    def _by_documents(self, examples: Iterable[Example]) -> Iterator[tuple[bool, Example]]:
        number = 1
        for example in examples:
            yield bool(self.every) and number % self.every == 0, example
            number += example.complete

    def _by_stretches(self, examples: Iterable[Example]) -> Iterator[tuple[bool, Example]]:
        borders, passed = list(chain.from_iterable(self.stretches)), 0
        place, begun = 0, False
        for example in examples:
            text, start = example.texts[0], 0
            while passed < len(borders) and borders[passed] <= place + len(text):
                end = max(_line_end(text, borders[passed] - place), start)
                if begun or end > start:
                    yield passed % 2 == 1, replace(example, texts=(text[start:end],), complete=True)
                start, begun, passed = end, False, passed + 1
            if begun or start < len(text):
                yield passed % 2 == 1, replace(example, texts=(text[start:],))
                begun = not example.complete
            place += len(text)


def _line_end(text: str, place: int) -> int:
    """Behind the end of the line that a place is in, where that is near."""
    near = text.find("\n", place, place + LINE) if 0 < place < len(text) else -1
    return place if near < 0 else near + 1


def plan_split(
    examples: Iterable[Example], fraction: float, place: Literal["spread", "end"] = "spread", *, pairs: bool = False
) -> Split:
    """Hold out every n-th document, n = 1 / `fraction`; of fewer documents than n, stretches.

    Args:
        examples: the documents; no more than n are read.
        fraction: how much to hold out.
        place: whether the stretches are spread over all of the text, or one at the end of the last document.
        pairs: whether each example has two texts, which are not cut.

    Example:
        >>> plan_split([Example(("x" * 100_000,))], 0.02)
        Split(every=0, stretches=((24500, 25500), (74500, 75500)))
    """
    every, sizes = round(1 / fraction) if fraction else 0, [0]
    for example in examples if every else ():
        sizes[-1] += len(example.texts[0])
        if example.complete and len(sizes) == every:
            return Split(every)
        if example.complete:
            sizes.append(0)
    borders = [0, *accumulate(size for size in sizes if size)]
    if pairs or len(borders) == 1:
        return Split()
    return Split(stretches=tuple(_spread(borders, fraction) if place == "spread" else _end(borders, fraction)))


def _end(borders: list[int], fraction: float) -> list[tuple[int, int]]:
    """The end of the last document."""
    size = int((borders[-1] - borders[-2]) * fraction)
    return [(borders[-1] - size, borders[-1])] if size else []


def _spread(borders: list[int], fraction: float) -> list[tuple[int, int]]:
    """Stretches at equal distances, each within a document; the end of the last one where there is too little text."""
    total = borders[-1]
    size = int(total * fraction)
    count = min(size // SHORTEST, STRETCHES)
    if count < 2:
        return _end(borders, fraction)
    width, stretches = size // count, list[tuple[int, int]]()
    for number in range(count):
        middle = (2 * number + 1) * total // (2 * count)
        document = bisect_right(borders, middle) - 1
        first, last = borders[document : document + 2]
        start = max(min(middle - width // 2, last - width), first, stretches[-1][1] if stretches else 0)
        stretches.append((start, min(start + width, last)))
    return stretches


NOTHING: Mapping[str, object] = {}


def build_stores(
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    words: bool = False,
    pairs: bool = False,
    split: Split | None = None,
    details: Mapping[str, object] = NOTHING,
) -> None:
    """Tokenize documents into `folder/train` and, where some are held out, `folder/valid`.

    Args:
        examples: the documents, or pairs.
        tokenizer: what makes tokens of them.
        folder: of the two stores.
        words: keep which tokens begin a word.
        pairs: each example has two texts.
        split: what is held out; None for nothing.
        details: kept in the index; `paths`, where the text comes from, are named in messages.

    Raises:
        DataError: there is no text at all.
        OSError: the disk is full or fails; nothing is left behind.
    """
    working = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(working, ignore_errors=True)
    sides = split or Split()
    names = ("train", "valid") if sides != Split() else ("train",)
    writers = [StoreWriter(working / name, tokenizer, words=words, pairs=pairs) for name in names]
    try:
        for held, example in sides.sides(examples):
            writers[held].add(example)
        for writer in writers:
            writer.flush()
        if writers[0].counts["tokens.bin"] == 0:
            paths = details.get("paths")
            named = ", ".join(map(str, paths)) if isinstance(paths, list) else folder
            raise DataError("data.corpus_empty", path=named)
        for writer in writers:
            writer.finish(details)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        working.rename(folder)
    finally:
        for writer in writers:
            writer.close()
        shutil.rmtree(working, ignore_errors=True)
