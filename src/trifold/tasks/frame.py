"""How texts are laid before a model of each family, and batches of examples of any length.

| family | one text | a pair |
|---|---|---|
| encoder | `[cls] a [sep]` | `[cls] a [sep] b [sep]` |
| decoder | `<s> a </s>` | `<s> a </s> b </s>` |
| encoder-decoder | source `a </s>`, target `<pad>` | source `a </s> b </s>`, target `<pad>` |

Axes: N examples.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from trifold.batch import IGNORED, Batch
from trifold.data import Room
from trifold.data.packing import assemble, fill_rows
from trifold.errors import ConfigError
from trifold.example import Ids, TrainingExample
from trifold.model import config as model_config
from trifold.text import Tokenizer

__all__ = ["Frame", "inference_batches", "pack"]

ROUND = 8
"""Rows are a multiple of this long, which matrix products like."""


class Frame:
    """Lays tokenized texts before one model.

    Args:
        tokenizer: the model's.
        model: its configuration.
        max_length: places for one example, special tokens included.

    Raises:
        ConfigError: a special token is missing, or the model has fewer positions.
    """

    def __init__(self, tokenizer: Tokenizer, model: model_config.Transformer, max_length: int) -> None:
        special = tokenizer.special
        self.encoder, self.decoder = model.encoder is not None, model.decoder is not None
        longest = model.max_length
        self.limit = max_length if longest is None else min(max_length, longest)
        begins = special.cls if not self.decoder else special.bos if not self.encoder else None
        ends = special.sep if not self.decoder else special.eos
        self.pad = special.pad if special.pad is not None else 0
        if ends is None or (begins is None and not (self.encoder and self.decoder)):
            raise ConfigError("objective.no_special", objective="fine-tuning", name="sep" if ends is None else "cls")
        self.first = [] if begins is None else [begins]
        self.end = ends

    def fit(self, parts: Sequence[Ids]) -> list[Ids]:
        """The parts cut so that they fit together: always the longest loses a token."""
        room = self.limit - len(self.first) - len(parts)
        sizes = [len(part) for part in parts]
        excess = sum(sizes) - room
        while excess > 0:
            at = int(np.argmax(sizes))
            below = max([size for size in sizes if size < sizes[at]], default=0)
            cut = min(excess, max(sizes[at] - below, 1) if sizes.count(sizes[at]) == 1 else 1)
            sizes[at] -= cut
            excess -= cut
        return [part[:size] for part, size in zip(parts, sizes, strict=True)]

    def lay(self, parts: Sequence[Ids]) -> tuple[Ids, list[int]]:
        """The ids of all parts with the special tokens around them, and where each part begins."""
        ids, places = list(self.first), []
        for part in parts:
            places.append(len(ids))
            ids += [*part.tolist(), self.end]
        return np.array(ids, dtype=np.int64), places

    def whole(self, ids: Ids, label: int) -> TrainingExample:
        """An example with one label for the whole text."""
        if self.encoder and self.decoder:
            return TrainingExample(labels=np.array([label]), source=ids, target=np.array([self.pad]))
        labels = np.full(len(ids), IGNORED, dtype=np.int64)
        labels[0 if self.encoder else -1] = label
        return self.each(ids, labels)

    def each(self, ids: Ids, labels: Ids) -> TrainingExample:
        """An example with labels at its tokens; a decoder behind an encoder reads the same tokens."""
        source = ids if self.encoder else None
        return TrainingExample(labels=labels, source=source, target=ids if self.decoder else None)


def pack(examples: Sequence[TrainingExample], pad: int) -> tuple[Batch, list[TrainingExample]]:
    """Examples in as few rows as they need, rows as long as the longest of them; and the examples in reading order.

    Example:
        >>> parts = [TrainingExample(labels=np.zeros(n, int), target=np.zeros(n, int)) for n in (5, 3, 8)]
        >>> batch, order = pack(parts, 0)
        >>> batch.target.shape, [len(one.labels) for one in order]
        (torch.Size([2, 8]), [8, 5, 3])
    """
    room = Room(source=_width([one.source_length for one in examples]),
                target=_width([one.target_length for one in examples]))  # fmt: skip
    rows = fill_rows(examples, len(examples), room)
    assert rows is not None, "one row an example always suffices"
    return assemble(rows, room, pad=pad), [one for row in rows for one in row]


def _width(lengths: Sequence[int]) -> int:
    return -(-max(lengths) // ROUND) * ROUND


def inference_batches(
    examples: Sequence[TrainingExample], pad: int, *, tokens: int = 4096
) -> Iterator[tuple[Batch, list[int]]]:
    """All examples, sorted by length and packed, about `tokens` places in a batch; with their numbers in reading order."""
    sizes = [one.source_length + one.target_length for one in examples]
    number_of = {id(one): number for number, one in enumerate(examples)}
    waiting: list[TrainingExample] = []
    total = 0
    for number in sorted(range(len(examples)), key=sizes.__getitem__):
        waiting.append(examples[number])
        total += sizes[number]
        if total >= tokens:
            batch, order = pack(waiting, pad)
            yield batch, [number_of[id(one)] for one in order]
            waiting, total = [], 0
    if waiting:
        batch, order = pack(waiting, pad)
        yield batch, [number_of[id(one)] for one in order]
