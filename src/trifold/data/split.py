"""The two token stores of a corpus: what is trained on, and what is held out."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trifold.data.source import Example
from trifold.data.store import StoreWriter
from trifold.errors import DataError
from trifold.text import Tokenizer

__all__ = ["build_stores"]

STRETCHES, SHORTEST = 16, 256
"""At most so many stretches of one text are held out, of so many tokens or more."""
NOTHING: Mapping[str, object] = {}


def build_stores(
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    words: bool = False,
    pairs: bool = False,
    hold_out: float = 0.0,
    place: Literal["spread", "end"] = "spread",
    details: Mapping[str, object] = NOTHING,
) -> None:
    """Tokenize documents into `folder/train` and, where `hold_out` is above 0, `folder/valid`.

    Every n-th document is held out, n = 1 / `hold_out`; of fewer documents than n, stretches spread over all of the text,
    or (`place="end"`) the end of the last.

    Args:
        examples: the documents, or pairs.
        tokenizer: what makes tokens of them.
        folder: of the two stores.
        words: keep which tokens begin a word.
        pairs: each example has two texts.
        hold_out: the part to hold out.
        place: where it lies.
        details: kept in the index; `paths`, where the text comes from, are named in messages.

    Raises:
        DataError: there is no text at all.
        OSError: the disk is full or fails; nothing is left behind.
    """
    working = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(working, ignore_errors=True)
    every = round(1 / hold_out) if hold_out else 0
    writer = _Split(working, tokenizer, words=words, pairs=pairs, every=every)
    try:
        writer.write(examples)
        if writer.train.num_documents + writer.held == 0 or writer.train.counts["tokens.bin"] == 0:
            paths = details.get("paths") or [folder]
            assert isinstance(paths, list)
            raise DataError("data.corpus_empty", path=", ".join(map(str, paths)))
        writer.finish(hold_out, place, details)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        working.rename(folder)
    finally:
        writer.close()
        shutil.rmtree(working, ignore_errors=True)


class _Split:
    """The two writers of one build."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, *, words: bool, pairs: bool, every: int) -> None:
        self.train = StoreWriter(folder / "train", tokenizer, words=words, pairs=pairs)
        self.valid = StoreWriter(folder / "valid", tokenizer, words=words, pairs=pairs) if every else None
        self.every, self.pairs, self.held = every, pairs, 0

    def write(self, examples: Iterable[Example]) -> None:
        number = 0
        for example in examples:
            held = self.valid is not None and number % self.every == self.every - 1
            (self.valid if held and self.valid is not None else self.train).add(example)
            self.held += held and example.complete
            number += example.complete
        self.train.flush()

    def finish(self, fraction: float, place: Literal["spread", "end"], details: Mapping[str, object]) -> None:
        if self.valid is not None and not self.held and not self.pairs:
            borders = self.train.borders()
            stretches = _spread(borders, fraction) if place == "spread" else _end(borders, fraction)
            for stretch in self.train.take_out(stretches) if stretches else ():
                self.valid.add_stretch(stretch)
        for writer in self._both():
            writer.finish(details)

    def close(self) -> None:
        for writer in self._both():
            writer.close()

    def _both(self) -> list[StoreWriter]:
        return [self.train, *([self.valid] if self.valid else [])]


def _end(borders: NDArray[np.int64], fraction: float) -> list[tuple[int, int]]:
    """The end of the last document."""
    first, last = map(int, borders[-2:])
    size = int((last - first) * fraction)
    return [(last - size, last)] if size else []


def _spread(borders: NDArray[np.int64], fraction: float) -> list[tuple[int, int]]:
    """Stretches at equal distances, each within a document; the end of the last one where that is all there would be."""
    total = int(borders[-1])
    size = int(total * fraction)
    count = min(size // SHORTEST, STRETCHES)
    if count < 2:
        return _end(borders, fraction)
    width, stretches = size // count, list[tuple[int, int]]()
    for number in range(count):
        middle = (2 * number + 1) * total // (2 * count)
        document = int(np.searchsorted(borders, middle, side="right")) - 1
        first, last = map(int, borders[document : document + 2])
        start = max(min(middle - width // 2, last - width), first, stretches[-1][1] if stretches else 0)
        end = min(start + width, last)
        if end > start:
            stretches.append((start, end))
    return stretches
