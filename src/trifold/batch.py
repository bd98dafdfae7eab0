"""The only types that data, model and training share: `Layout`, `Batch` and `Loss`.

Axes: B batch, S sequence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from trifold.errors import UsageError

__all__ = ["IGNORED", "PER_ROW", "Batch", "Layout", "Loss"]

IGNORED = -100
"""The label of a place that has no loss."""
PER_ROW = ("source", "target", "source_layout", "target_layout", "labels")
"""What a batch has a row of for each of its rows."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each token of a batch stands: the only mask input anywhere.

    A key is visible to a query iff both are of the same document and the key is inside the causal and window limits of
    the attention. So padding (document 0), packing (documents 1, 2, ...) and packed encoder-decoder batches, where target
    document k reads source document k, are one rule.

    Attributes:
        positions: place of each token within its document, from 0; one row may stand for all rows.
        documents: document of each token, 0 for padding; None means that every row is one whole document.
        prefix: for each token, how many first tokens of its document every token of it may see, although they come
            later (prefix language modelling); None means none.
        segments: which part of a pair each token belongs to (BERT's token types); None means all are part 0.

    Example:
        >>> Layout.whole(1, 3).positions
        tensor([[0, 1, 2]])
        >>> Layout.padded(torch.tensor([2, 3])).documents
        tensor([[1, 1, 0],
                [1, 1, 1]])
    """

    positions: Int[Tensor, "rows seq"]
    documents: Int[Tensor, "batch seq"] | None = None
    prefix: Int[Tensor, "batch seq"] | None = None
    segments: Int[Tensor, "batch seq"] | None = None

    @classmethod
    def whole(cls, batch: int, length: int, *, start: int = 0, device: torch.device | str | None = None) -> "Layout":
        """The layout of `batch` rows that each hold one document of `length` tokens, from position `start` on."""
        del batch  # one row of positions serves all
        return cls(torch.arange(start, start + length, device=device)[None])

    @classmethod
    def padded(cls, lengths: Int[Tensor, " batch"], *, left: bool = False, width: int | None = None) -> "Layout":
        """The layout of one document a row, `lengths` tokens long, padded on the right (or left) to `width`."""
        width = int(lengths.max()) if width is None and len(lengths) else width or 0
        place = torch.arange(width, device=lengths.device)[None].expand(len(lengths), -1)  # B S
        place = place - (width - lengths[:, None] if left else 0)
        inside = (place >= 0) & (place < lengths[:, None])
        return cls(torch.where(inside, place, 0), inside.long())

    def to(self, device: torch.device | str) -> "Layout":
        """The same layout on another device."""
        return replace(self, **{name: _move(getattr(self, name), device) for name in self.__slots__})

    def followed_by(self, fresh: "Layout") -> "Layout":
        """The layout of these tokens and the `fresh` ones after them, described alike.

        Example:
            >>> Layout.whole(1, 2).followed_by(Layout.whole(1, 1, start=2)).positions
            tensor([[0, 1, 2]])
        """
        return replace(self, **{name: _join(getattr(self, name), getattr(fresh, name)) for name in self.__slots__})

    def select(self, rows: Int[Tensor, " chosen"]) -> "Layout":
        """The layout of the given rows, in the given order; they may repeat."""
        return replace(self, **{name: _pick(getattr(self, name), rows) for name in self.__slots__})


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids for one pass through the model, with their layouts and labels.

    Attributes:
        source: tokens that the encoder reads; None for a model without encoder.
        target: tokens that the decoder reads; None for a model without decoder.
        source_layout: layout of `source`; None exactly when `source` is None.
        target_layout: layout of `target`; None exactly when `target` is None.
        labels: what the head should say at each place of the decoder's tokens (of the encoder's, in a model without
            decoder), `IGNORED` where there is no loss; None at inference.
        num_bytes: how many bytes of raw text the labels stand for, for bits per byte; 0 where unknown.
        extras: what a loss needs beside the labels, by name: a row of numbers for each document, in reading order.
    """

    source: Int[Tensor, "batch source"] | None = None
    target: Int[Tensor, "batch target"] | None = None
    source_layout: Layout | None = None
    target_layout: Layout | None = None
    labels: Int[Tensor, "batch seq"] | None = None
    num_bytes: int = 0
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse tokens that are no rows, a layout of other tokens, and sides of other rows.

        Raises:
            UsageError: the shapes do not go together.
        """
        sides = {"source": (self.source, self.source_layout), "target": (self.target, self.target_layout)}
        for name, (tokens, layout) in sides.items():
            if tokens is not None and tokens.ndim != 2:
                raise UsageError("batch.not_rows", name=name, given=list(tokens.shape))
            if tokens is not None and layout is not None and not _fits(layout, tokens):
                given = list(layout.positions.shape)
                raise UsageError("batch.other_layout", name=name, given=given, tokens=list(tokens.shape))
        if self.source is not None and self.target is not None and len(self.source) != len(self.target):
            raise UsageError("batch.other_rows", source=len(self.source), target=len(self.target))

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        extras = {name: value.to(device) for name, value in self.extras.items()}
        return replace(self, **{name: _move(getattr(self, name), device) for name in PER_ROW}, extras=extras)

    @property
    def num_rows(self) -> int:
        """How many rows the batch has."""
        return len(self.target if self.target is not None else self.source)  # type: ignore[arg-type]

    def split(self, parts: int) -> "list[Batch]":
        """The rows in at most so many parts of like size, without their bytes; they add up to the batch.

        Example:
            >>> [part.num_rows for part in Batch(target=torch.zeros(5, 2, dtype=torch.long)).split(2)]
            [3, 2]
        """
        if parts <= 1:
            return [self]
        size = -(-self.num_rows // parts)
        slices = [slice(start, start + size) for start in range(0, self.num_rows, size)]
        return [
            Batch(**{name: _rows(getattr(self, name), rows) for name in PER_ROW}, extras=self._extras_of(rows))
            for rows in slices
        ]

    def _extras_of(self, rows: slice) -> dict[str, Tensor]:
        """The extras of the documents in some rows."""
        layout = self.target_layout or self.source_layout
        packed = layout is not None and layout.documents is not None
        counts = layout.documents.amax(1) if packed else torch.ones(self.num_rows, dtype=torch.long)  # type: ignore[union-attr]
        ends = [0, *counts.cumsum(0).tolist()]
        first, last = ends[rows.start], ends[min(rows.stop, self.num_rows)]
        return {name: value[first:last] for name, value in self.extras.items()}

    @property
    def num_targets(self) -> int:
        """How many places have a label."""
        return 0 if self.labels is None else int((self.labels != IGNORED).sum())

    @property
    def num_tokens(self) -> int:
        """How many places the batch holds, padding included, on both sides."""
        return sum(tokens.numel() for tokens in (self.source, self.target) if tokens is not None)


@dataclass(frozen=True, slots=True)
class Loss:
    """A summed loss and what to divide it by; the trainer sums both over all passes of a step before it divides.

    Attributes:
        sum: a scalar tensor with gradient; for language models the summed negative log-likelihood in nats. A mean over n
            targets is `Loss(n * mean, n)`.
        weight: what the sum is divided by: the number of target tokens, of texts, or the sum of their weights.
        metrics: further sums over the same targets, by name; of `bytes`, the bytes of raw text that they stand for, come
            the bits per byte.
    """

    sum: Tensor
    weight: float
    metrics: Mapping[str, float] = field(default_factory=dict)


def _fits(layout: Layout, tokens: Tensor) -> bool:
    """Whether a layout is of these tokens; one row of it may stand for all rows."""
    parts = [part for part in (getattr(layout, name) for name in layout.__slots__) if part is not None]
    return all(part.shape[1:] == tokens.shape[1:] and len(part) in (1, len(tokens)) for part in parts)


def _move(value: Tensor | Layout | None, device: torch.device | str) -> Tensor | Layout | None:
    return None if value is None else value.to(device)


def _rows(value: Tensor | Layout | None, rows: slice) -> Any:
    """Some rows; one that stands for all of them stays."""
    if isinstance(value, Layout):
        return Layout(**{name: _rows(getattr(value, name), rows) for name in value.__slots__})
    return value if value is None or len(value) == 1 else value[rows]


def _join(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    if old is None or new is None:
        assert old is new, "all passes of one cache describe their tokens alike"
        return None
    rows = max(len(old), len(new))
    return torch.cat([old.expand(rows, -1), new.expand(rows, -1)], dim=1)


def _pick(value: Tensor | None, rows: Tensor) -> Tensor | None:
    return value if value is None or len(value) == 1 else value[rows]
