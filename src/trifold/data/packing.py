"""Putting examples of unequal length into rows with hardly any padding.

Axes: R rows, S places.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from trifold.batch import IGNORED, Batch, Layout
from trifold.example import Ids, TrainingExample

__all__ = ["Room", "assemble", "fill_rows"]


class Room:
    """How many tokens a row holds on each side; 0 for a side that is absent.

    Example:
        >>> Room(source=0, target=8).main
        8
    """

    def __init__(self, *, source: int, target: int) -> None:
        self.source, self.target = source, target

    @property
    def main(self) -> int:
        """The side whose waste counts: the encoder's where there is one."""
        return self.source or self.target

    def fits(self, example: TrainingExample) -> bool:
        """Whether a row of its own can hold the example."""
        return example.source_length <= self.source and example.target_length <= self.target


def fill_rows(examples: Sequence[TrainingExample], rows: int, room: Room) -> list[list[TrainingExample]] | None:
    """Best fit, longest first: each example goes to the row that it leaves fullest. None where `rows` do not suffice.

    Example:
        >>> parts = [TrainingExample(labels=np.zeros(n, int), target=np.zeros(n, int)) for n in (5, 3, 4, 4)]
        >>> [[len(part.labels) for part in row] for row in fill_rows(parts, 2, Room(source=0, target=8))]
        [[5, 3], [4, 4]]
    """
    filled: list[list[TrainingExample]] = []
    free: list[tuple[int, int, int]] = []  # free places on the main side, row, free places on the other side
    paired = bool(room.source and room.target)
    for example in sorted(examples, key=lambda one: _main(one, room), reverse=True):
        main, other = _main(example, room), example.target_length if paired else 0
        at = bisect_left(free, (main, -1, 0))
        while at < len(free) and free[at][2] < other:
            at += 1
        if at < len(free):
            left, row, beside = free.pop(at)
        elif len(filled) < rows:
            left, row, beside = room.main, len(filled), room.target if paired else 0
            filled.append([])
        else:
            return None
        filled[row].append(example)
        if left > main:
            insort(free, (left - main, row, beside - other))
    return filled


def _main(example: TrainingExample, room: Room) -> int:
    return example.source_length if room.source else example.target_length


def assemble(rows: Sequence[Sequence[TrainingExample]], room: Room, *, pad: int) -> Batch:
    """Rows of examples as one batch: document k of the source belongs to document k of the target.

    Where every row is one example that fills it, the layout says so, and attention takes its fastest path.

    Example:
        >>> example = TrainingExample(labels=np.array([2, 3]), target=np.array([1, 2]))
        >>> batch = assemble([[example]], Room(source=0, target=3), pad=0)
        >>> batch.target.tolist(), batch.target_layout.documents.tolist()
        ([[1, 2, 0]], [[1, 1, 0]])
    """
    source = _side([[one.source for one in row] for row in rows], room.source, pad) if room.source else None
    target = _side([[one.target for one in row] for row in rows], room.target, pad) if room.target else None
    width = room.target or room.source
    labels = np.full((len(rows), width), IGNORED, dtype=np.int64)
    prefix = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        start = 0
        for example in row:
            labels[index, start : start + len(example.labels)] = example.labels
            prefix[index, start : start + len(example.labels)] = example.prefix
            start += len(example.labels)
    layout = target[1] if target else None
    if layout is not None and prefix.any():
        layout = Layout(layout.positions, layout.documents, torch.from_numpy(prefix))
    return Batch(
        source=source[0] if source else None,
        target=target[0] if target else None,
        source_layout=source[1] if source else None,
        target_layout=layout,
        labels=torch.from_numpy(labels),
        num_bytes=sum(example.num_bytes for row in rows for example in row),
        extras=_extras([example.extras for row in rows for example in row]),
    )


def _extras(extras: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, torch.Tensor]:
    """The extras of all examples as one tensor a name, the shorter rows filled with IGNORED."""
    assert all(extra.keys() == extras[0].keys() for extra in extras), "all examples of a batch have the same extras"
    tensors = {}
    for name in extras[0] if extras else ():
        values = [extra[name] for extra in extras]
        width = max(map(len, values))
        tensors[name] = torch.tensor([[*value, *[IGNORED] * (width - len(value))] for value in values])
    return tensors


def _side(rows: list[list[Ids | None]], width: int, pad: int) -> tuple[torch.Tensor, Layout]:
    tokens = np.full((len(rows), width), pad, dtype=np.int64)  # R S
    positions, documents = np.zeros_like(tokens), np.zeros_like(tokens)
    whole = True
    for index, row in enumerate(rows):
        start = 0
        for number, ids in enumerate(row, start=1):
            assert ids is not None, "all examples of a batch have the same sides"
            end = start + len(ids)
            tokens[index, start:end] = ids
            positions[index, start:end] = np.arange(len(ids))
            documents[index, start:end] = number
            start = end
        whole = whole and len(row) == 1 and start == width
    if whole:
        return torch.from_numpy(tokens), Layout.whole(len(rows), width)
    return torch.from_numpy(tokens), Layout(torch.from_numpy(positions), torch.from_numpy(documents))
