"""How texts are laid before a model of each family, and batches of examples of any length.

As the tokenizer's own folder frames them; where it leaves that open, as the family is used to:

| family | one text | a pair |
|---|---|---|
| encoder | `[cls] a [sep]` | `[cls] a [sep] b [sep]` |
| decoder | `<s> a` | `<s> a </s> b` |
| encoder-decoder | `a </s>` | `a </s> b </s>` |

A decoder behind an encoder reads the same tokens, one place later and after `<pad>`, so that its last vector has read all
that stands before the last token, and the encoder's text.

Axes: N examples, B batch, S sequence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from trifold.batch import IGNORED, Batch, Layout
from trifold.data import Room
from trifold.data.packing import assemble, fill_rows
from trifold.errors import ConfigError
from trifold.example import Extras, Ids, TrainingExample
from trifold.model import config as model_config
from trifold.tasks.account import Cut
from trifold.text import Tokenizer

__all__ = ["SEGMENTS", "Frame", "inference_batches", "pack", "segments"]

SEGMENTS = 3
"""First part, other parts, and in these what the first part has too: for a family that has no segments of its own."""
ROWS, WIDE = 8, 128
"""Rows to aim at, and how long they become for it."""

ROUND = 8
"""Rows are a multiple of this long, which matrix products like."""


class Frame:
    """Lays tokenized texts before one model.

    Args:
        tokenizer: the model's.
        model: its configuration.
        max_length: places for one example, special tokens included.
        reads: `encoder` for a task that leaves the decoder of an encoder-decoder out.

    Raises:
        ConfigError: a special token is missing, or the model has fewer positions.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        model: model_config.Transformer,
        max_length: int,
        *,
        reads: Literal["all", "encoder"] = "all",
    ) -> None:
        special, self.reads = tokenizer.special, reads
        both = model.encoder is not None and model.decoder is not None
        self.encoder = model.encoder is not None
        self.decoder = model.decoder is not None and not (both and reads == "encoder")
        longest = model.max_length
        self.limit = max_length if longest is None else min(max_length, longest)
        self.num_segments, self.typed = model.embedding.num_segments, tokenizer.typed
        self.keeps_end = tokenizer.settings.get("truncation_side") == "left"
        self.pad = special.pad if special.pad is not None else 0
        start = getattr(special, model.start)
        self.start = self.pad if start is None else start
        ends = special.sep if model.decoder is None else special.eos
        if ends is None:
            raise ConfigError("objective.no_special", objective="fine-tuning", name="sep")
        self.end = ends
        self.cut = Cut(self.limit)
        self.framing = tokenizer.framing_for(encoder=self.encoder, decoder=model.decoder is not None)

    def take_cut(self) -> Cut:
        """How many texts were laid since the last time, and how many of them were cut."""
        taken, self.cut = self.cut, Cut(self.cut.limit, setting=self.cut.setting)
        return taken

    @property
    def first(self) -> list[int]:
        """What stands before a text."""
        return list(self.framing.first)

    def room(self, parts: int) -> int:
        """Places for the tokens of so many texts together."""
        around = self.framing
        return self.limit - len(around.first) - len(around.middle) * (parts - 1) - len(around.last)

    def fit(self, parts: Sequence[Ids]) -> list[Ids]:
        """The parts cut so that they fit together: always the longest loses a token, at the side that the folder says."""
        room = self.room(len(parts))
        sizes = [len(tokens) for tokens in parts]
        excess = sum(sizes) - room
        self.cut.count(longer=excess > 0)
        while excess > 0:
            at = int(np.argmax(sizes))
            below = max([size for size in sizes if size < sizes[at]], default=0)
            cut = min(excess, max(sizes[at] - below, 1) if sizes.count(sizes[at]) == 1 else 1)
            sizes[at] -= cut
            excess -= cut
        return [self.kept(tokens, size) for tokens, size in zip(parts, sizes, strict=True)]

    def kept(self, ids: Ids, size: int) -> Ids:
        """At most so many tokens of a text, from the side that the folder does not cut."""
        return ids[max(len(ids) - size, 0) :] if self.keeps_end else ids[:size]

    def lay(self, parts: Sequence[Ids]) -> tuple[Ids, list[int]]:
        """The ids of all parts with the special tokens around them, and where each part begins."""
        ids, places = list(self.framing.first), []
        for number, tokens in enumerate(parts):
            ids += self.framing.middle if number else ()
            places.append(len(ids))
            ids += tokens.tolist()
        ids += self.framing.last
        return np.array(ids or [self.end], dtype=np.int64), places

    def fitted(self, parts: Sequence[Ids], label: int = 0, extras: Extras | None = None) -> TrainingExample:
        """An example of parts that are cut so that they fit, with one label for the whole."""
        return self.whole(self.lay(self.fit(parts))[0], label, extras)

    def whole(self, ids: Ids, label: int = 0, extras: Extras | None = None) -> TrainingExample:
        """An example with one label for the whole text."""
        labels = np.full(len(ids), IGNORED, dtype=np.int64)
        labels[-1 if self.decoder else 0] = label
        return self.each(ids, labels, extras)

    def marked(self, batch: Batch, *, match: bool) -> Batch:
        """The batch with a segment at each token: 0 in the first part, 1 in the others.

        There are none where the family has none, or its folder's tokenizer gives all tokens type 0.

        With `match` every family has them, and 2 is where the first part has the token too: what a question and a text
        have in common is what a small model would need many examples to learn to look for (Chen et al. 2017, section 3.2,
        "exact match").
        """
        if not (match or (self.num_segments and self.typed)):
            return batch
        last = (self.num_segments or SEGMENTS) - 1
        layouts = {}
        for side in ("source", "target"):
            tokens, layout = getattr(batch, side), getattr(batch, f"{side}_layout")
            if tokens is not None and layout is not None:
                found = segments(tokens, layout, self.end, match=match)
                layouts[f"{side}_layout"] = replace(layout, segments=found.clamp(max=last))
        return replace(batch, **layouts)

    def each(self, ids: Ids, labels: Ids, extras: Extras | None = None) -> TrainingExample:
        """An example with labels at its tokens, and perhaps more that the loss needs."""
        source = ids if self.encoder else None
        target = np.concatenate([[self.start], ids[:-1]]) if self.encoder else ids
        target = target if self.decoder else None
        return TrainingExample(labels=labels, source=source, target=target, extras=extras or {})


def segments(
    tokens: Int[Tensor, "batch seq"], layout: Layout, end: int, *, match: bool = True
) -> Int[Tensor, "batch seq"]:
    """Segments of pairs whose parts end with the token `end`, each document for itself; 2 only with `match`.

    Example:
        >>> segments(torch.tensor([[7, 8, 2, 5, 8, 2]]), Layout.whole(1, 6), 2)
        tensor([[0, 0, 0, 1, 2, 1]])
    """
    ends = (tokens == end).long()
    before = ends.cumsum(1) - ends
    here = torch.arange(tokens.shape[1], device=tokens.device)
    later = before > before.gather(1, (here - layout.positions).clamp(min=0).expand_as(before))
    if not match:
        return later.long()
    same = (tokens[:, :, None] == tokens[:, None, :]) & ~(later | ends.bool())[:, None, :]  # B S S
    if layout.documents is not None:
        same &= layout.documents[:, :, None] == layout.documents[:, None, :]
    return later.long() + (later & same.any(2))


def pack(examples: Sequence[TrainingExample], pad: int, *, wide: bool = False) -> tuple[Batch, list[TrainingExample]]:
    """Examples in as few rows as they need; and the examples in reading order.

    Rows are as long as the longest example; longer if `wide` and there are many examples: so batches have few shapes, for
    each of which oneDNN writes programs of its own.

    Example:
        >>> parts = [TrainingExample(labels=np.zeros(n, int), target=np.zeros(n, int)) for n in (5, 3, 8)]
        >>> batch, order = pack(parts, 0)
        >>> batch.target.shape, [len(example.labels) for example in order]
        (torch.Size([2, 8]), [8, 5, 3])
    """
    room = Room(
        source=_width([example.source_length for example in examples], wide=wide),
        target=_width([example.target_length for example in examples], wide=wide),
    )
    rows = fill_rows(examples, len(examples), room)
    assert rows is not None, "one row an example always suffices"
    return assemble(rows, room, pad=pad), [example for row in rows for example in row]


def _width(lengths: Sequence[int], *, wide: bool) -> int:
    longest, share = -(-max(lengths) // ROUND) * ROUND, sum(lengths) // ROWS
    return max(longest, min(WIDE, 1 << share.bit_length()) if wide and share else 0)


def inference_batches(
    examples: Sequence[TrainingExample], pad: int, *, tokens: int = 4096
) -> Iterator[tuple[Batch, list[int]]]:
    """All examples, sorted by length and packed, about `tokens` places in a batch; with their numbers in reading order."""
    sizes = [example.source_length + example.target_length for example in examples]
    number_of = {id(example): number for number, example in enumerate(examples)}
    waiting: list[TrainingExample] = []
    total = 0
    for number in sorted(range(len(examples)), key=sizes.__getitem__):
        waiting.append(examples[number])
        total += sizes[number]
        if total >= tokens:
            batch, order = pack(waiting, pad, wide=True)
            yield batch, [number_of[id(example)] for example in order]
            waiting, total = [], 0
    if waiting:
        batch, order = pack(waiting, pad, wide=True)
        yield batch, [number_of[id(example)] for example in order]
