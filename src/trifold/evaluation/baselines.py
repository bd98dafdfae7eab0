"""What counting comes to on a run's own held-out text, learned from its own training text and judged on the same tokens."""

import math
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trifold.data import Loader, Room, TokenStore
from trifold.evaluation.cloze import Cloze, hidden_bits, span_bits, span_lengths
from trifold.evaluation.language_model import load_run
from trifold.evaluation.ngram import NGram
from trifold.evaluation.sample import held_out_store
from trifold.evaluation.stretches import (
    bits_per_byte,
    compare_bits,
    model_bits,
    model_bits_of_batches,
    sums_of_stretches,
)
from trifold.objective import build_objective
from trifold.presets.pretrained import resolve
from trifold.text import Tokenizer
from trifold.training import read_experiment

__all__ = ["Counted", "count_beside"]

STRETCHES = 256
"""Stretches whose differences give an interval, or somewhat more."""
COUNTED_TOKENS = 2 * 10**7
"""Of longer text nothing is counted: it takes minutes, and gigabytes."""
COUNTED = 50
"""Batches in which the lengths of spans are counted."""
HIDING = ("masked", "denoising")
CLOZE = "3-gram cloze"


@dataclass(frozen=True, slots=True)
class Counted:
    """What counting comes to beside a run's model.

    Attributes:
        bits: bits per byte of the held-out text, by the name of the baseline.
        verdict: the model beside the best of them, by paired bootstrap over stretches of that text, as a judgement of
            fine-tuning has it; None where the two were not measured on the same stretches.
    """

    bits: dict[str, float] = field(default_factory=dict)
    verdict: dict[str, Any] | None = None


def count_beside(folder: str | Path, *, orders: tuple[int, ...] = (1, 5)) -> Counted:
    """What counting comes to on a run's held-out text; nothing where none was held out, or the text is very long.

    For a model that predicts each token from those before it, under n-gram models; for one that predicts hidden tokens,
    under a unigram model, and for these tokens from what stands beside them (`trifold.evaluation.cloze`).

    Raises:
        ModelFileError: the run has no tokenizer.
        DataError: its token stores are damaged.
    """
    folder = Path(folder)
    tokenizer = Tokenizer.from_pretrained(resolve(folder))
    valid = held_out_store(folder, tokenizer)
    if valid is None:
        return Counted()
    train = TokenStore(folder / "data" / "0" / "train", tokenizer)
    if train.num_tokens > COUNTED_TOKENS:
        return Counted()
    kind, run = read_experiment(folder).objective.kind, _Run(folder, tokenizer, train, valid)
    rows = {("unigram" if order == 1 else f"{order}-gram"): run.by_ngrams(order)
            for order in ((1,) if kind in HIDING else orders)}  # fmt: skip
    own = run.by_model() if kind == "causal" else None
    if kind in HIDING:
        own, rows[CLOZE] = run.hidden()
    bits = {name: bits_per_byte(counted).score for name, counted in rows.items() if counted[:, 1].sum()}
    best = min(bits, key=lambda name: bits[name], default="")
    paired = own is not None and best in rows and len(own) == len(rows[best]) and (kind == "causal" or best == CLOZE)
    return Counted(bits, compare_bits(own, rows[best], best) if own is not None and paired else None)


class _Run:
    """A run with the text it was trained on, and the text held out."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, train: TokenStore, valid: TokenStore) -> None:
        self.folder, self.tokenizer, self.train, self.valid = folder, tokenizer, train, valid
        self.length, self.token_bytes = read_experiment(folder).training.length, tokenizer.token_bytes()

    def _documents(self, store: TokenStore) -> list[NDArray[np.int64]]:
        """The documents of a store, each with the end token, which is predicted too."""
        end = self.tokenizer.special.eos or 0
        return [np.append(store.document(index), end) for index in range(store.num_documents)]

    def by_ngrams(self, order: int) -> NDArray[np.float64]:
        """Bits and bytes of each stretch under an n-gram model of the training text."""
        documents = self._documents(self.valid)
        model = NGram(self._documents(self.train), vocab_size=self.tokenizer.vocab_size, order=order)
        bits = [-chances / math.log(2) for chances in model.each_document(documents)]
        return sums_of_stretches(bits, documents, self.length, self.token_bytes)

    def by_model(self) -> NDArray[np.float64]:
        """Likewise under the run's own causal model."""
        documents, (model, _) = self._documents(self.valid), load_run(self.folder)
        objective = build_objective(read_experiment(self.folder).objective, self.tokenizer, model.config)
        bits = model_bits(model, objective, documents, self.length)
        return sums_of_stretches(bits, documents, self.length, self.token_bytes)

    def hidden(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bits and bytes of the hidden tokens of rows, some together, under the model and by what stands beside them."""
        experiment, (model, _) = read_experiment(self.folder), load_run(self.folder)
        objective = build_objective(experiment.objective, self.tokenizer, model.config)
        room = Room(source=self.length, target=objective.target_length(self.length) if model.config.decoder else 0)
        pad, special = self.tokenizer.special.pad or 0, self.tokenizer.special.all_ids
        together = max(self.valid.num_tokens // self.length // STRETCHES, 1)
        rows = Loader([self.valid], objective, room, batch_size=together, pad=pad, token_bytes=self.token_bytes)
        batches = list(rows.epoch())
        texts = (self.train.document(number) for number in range(self.train.num_documents))
        counted = Cloze(texts, vocab_size=self.tokenizer.vocab_size)
        if model.config.decoder is None:
            bits = [hidden_bits(counted, [batch], special) for batch in batches]
        else:
            seen = Loader([self.train], objective, room, batch_size=experiment.training.batch_size, pad=pad).epoch()
            lengths = span_lengths(islice(seen, COUNTED), special)
            bits = [span_bits(counted, [batch], lengths, special) for batch in batches]
        spelled = [[need, batch.num_bytes] for need, batch in zip(bits, batches, strict=True)]
        return model_bits_of_batches(model, objective, batches), np.array(spelled, dtype=np.float64)
