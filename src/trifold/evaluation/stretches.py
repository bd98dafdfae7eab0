"""What a model and counting need for the same stretches of held-out text, so that their difference has an interval."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from trifold.batch import IGNORED, Batch
from trifold.data import Room
from trifold.data.packing import assemble, fill_rows
from trifold.evaluation.metric import Tally
from trifold.evaluation.statistics import paired_bootstrap
from trifold.example import Piece, TrainingExample
from trifold.generation.generator import evaluating
from trifold.model import Transformer
from trifold.objective import Objective
from trifold.training import evaluate_loss

__all__ = ["Rows", "bits_per_byte", "compare_bits", "model_bits", "model_bits_of_batches", "sums_of_stretches"]

Rows = Float[np.ndarray, "stretches 2"]
"""Bits, and the bytes that they spell, of each stretch."""
AT_ONCE = 64
"""Stretches that pass through the model together."""
FEWEST_DOCUMENTS = 30
"""From so many documents on they are drawn whole: what stands in one of them belongs together."""


def bits_per_byte(rows: NDArray[np.float64]) -> Tally:
    """Bits of all stretches over the bytes of all.

    Example:
        >>> bits_per_byte(np.array([[8.0, 4.0], [4.0, 4.0]])).score
        1.5
    """
    return Tally(rows, lambda total: total[..., 0] / np.maximum(total[..., 1], 1))


def compare_bits(model: NDArray[np.float64], counted: NDArray[np.float64], name: str) -> dict[str, Any]:
    """How much better or worse a model is than counting on the same stretches, as a judgement's verdict is written.

    Args:
        model: bits and bytes of each stretch under the model, [stretches, 2].
        counted: likewise under the baseline.
        name: of the baseline.

    Example:
        >>> verdict = compare_bits(np.array([[4.0, 4.0], [5.0, 4.0]] * 9), np.array([[8.0, 4.0]] * 18), "5-gram")
        >>> verdict["told"], verdict["difference"]["value"]
        ('better', -0.875)
    """
    difference = paired_bootstrap(bits_per_byte(model), bits_per_byte(counted)).difference
    told = "better" if difference.high < 0 else "worse" if difference.low > 0 else "even"
    ends = {end: round(getattr(difference, end), 6) for end in ("value", "low", "high")}
    return {"metric": "bits_per_byte", "baseline": name, "told": told, "difference": {**ends, "n": difference.n}}


def sums_of_stretches(
    values: Sequence[Float[np.ndarray, " _"]], documents: Sequence[Int[np.ndarray, " _"]], length: int,
    token_bytes: Int[np.ndarray, " vocab"],
) -> NDArray[np.float64]:  # fmt: skip
    """Bits and bytes of each stretch: of documents, where there are many, else of `length` tokens.

    Args:
        values: bits of each token of each document.
        documents: the ids of these tokens.
        length: tokens of a stretch.
        token_bytes: bytes that each id spells.
    """
    rows = []
    for bits, ids in zip(values, documents, strict=True):
        starts = np.arange(0, len(ids), len(ids) if len(documents) >= FEWEST_DOCUMENTS else length)
        rows.append(np.stack([np.add.reduceat(bits, starts), np.add.reduceat(token_bytes[ids], starts)], axis=1))
    return np.concatenate(rows).astype(np.float64)


@torch.inference_mode()
def model_bits(
    model: Transformer, objective: Objective, documents: Sequence[Int[np.ndarray, " _"]], length: int
) -> list[NDArray[np.float64]]:
    """Bits of each token of each document under a causal model, which reads `length` of them at once, as it was trained.

    A token that the objective does not predict, such as a first one with nothing before it, has none.
    """
    bits_of, chance = [np.zeros(len(ids)) for ids in documents], np.random.default_rng(0)
    waiting: list[tuple[TrainingExample, NDArray[np.float64]]] = []
    for ids, bits in zip(documents, bits_of, strict=True):
        for start in range(0, len(ids), length):
            piece = Piece(ids[start : start + length], previous=int(ids[start - 1]) if start else None)
            for example in objective.prepare(piece, chance):
                end = start + len(piece.ids)
                waiting.append((example, bits[end - len(example.labels) : end]))
    for start in range(0, len(waiting), AT_ONCE):
        _fill(model, {id(example): (example, place) for example, place in waiting[start : start + AT_ONCE]}, length)
    return bits_of


def _fill(model: Transformer, places: dict[int, tuple[TrainingExample, NDArray[np.float64]]], length: int) -> None:
    """Put the bits of the labels of some examples where they belong."""
    room = Room(source=0, target=length)
    rows = fill_rows([example for example, _ in places.values()], len(places), room)
    assert rows is not None, "one row an example always suffices"
    batch = assemble(rows, room, pad=0).to(next(model.parameters()).device)
    assert batch.labels is not None
    with evaluating(model):
        hidden = model(batch)
        for row, states, labels in zip(rows, hidden, batch.labels, strict=True):
            losses = cross_entropy(model.head(states).float(), labels, ignore_index=IGNORED, reduction="none")
            bits, start = losses.double().cpu().numpy() / math.log(2), 0
            for example in row:
                places[id(example)][1][:] = bits[start : start + len(example.labels)]
                start += len(example.labels)


def model_bits_of_batches(model: Transformer, objective: Objective, batches: Iterable[Batch]) -> NDArray[np.float64]:
    """Bits and bytes of each batch under its objective."""
    told = [evaluate_loss(model, objective, [batch]) for batch in batches]
    return np.array([[entry.loss * entry.tokens / math.log(2), entry.num_bytes] for entry in told])
