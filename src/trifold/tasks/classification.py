"""Labels for texts and pairs of texts: topics, sentiment, inference, paraphrase."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trifold.batch import Batch, Loss
from trifold.data.rows import Row
from trifold.errors import ConfigError, DataError
from trifold.evaluation.metric import Tally, accuracy, f1, matthews, multi_label_f1
from trifold.example import TrainingExample
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.config import Classification
from trifold.tasks.frame import Frame
from trifold.tasks.head import Pooling, TaskHead, labelled_runs, labelled_vectors, task_head
from trifold.tasks.record import Placed, Record, Role, optional_text, text_of
from trifold.tasks.task import Prediction, run_places
from trifold.text import Tokenizer

__all__ = ["ClassificationTask", "find_labels"]

NEUTRAL = "neutral"
SPLIT = "|"
PARTS = ("title", "headline", "subject", "content", "body", "description")
TEXT = ("text", "sentence", "review", "utterance", "comment", "tweet", "premise", "sentence1", "text1", "text_a",
        "question", "question1", "query", *PARTS)  # fmt: skip
PAIRS = (("question", "sentence"), ("question", "passage"), ("question", "context"), ("query", "passage"))
ROLES = (
    Role("text", TEXT, parts=PARTS),
    Role(
        "text_pair",
        ("text_pair", "hypothesis", "sentence2", "text2", "text_b", "question2", "aspect", "passage"),
        needed=False,
        beside=PAIRS,
    ),
    Role("label", ("label", "labels", "category", "coarse", "class", "intent", "sentiment"), label=True),
)


class ClassificationTask:
    """One label, or any number of them, for a text or a pair.

    Args:
        config: with its labels.
        tokenizer: the model's.
        model: the model's configuration.
        weights: weight of each class in the loss; None for 1 each.

    Raises:
        ConfigError: there are fewer than two labels.
    """

    roles = ROLES

    def __init__(
        self, config: Classification, tokenizer: Tokenizer, model: Any, *, weights: Sequence[float] | None = None
    ) -> None:
        if len(config.labels) < (1 if config.multi_label else 2):
            raise ConfigError("task.few_labels", given=", ".join(config.labels) or "-")
        if config.token_dropout and tokenizer.special.mask is None:
            given, allowed = config.token_dropout, "0: the tokenizer has no mask token"
            raise ConfigError("config.out_of_range", where="task.token_dropout", given=given, allowed=allowed)
        self.config, self.tokenizer = config, tokenizer
        self.frame = Frame(tokenizer, model, config.max_length)
        self.number = {label: number for number, label in enumerate(config.labels)}
        self.weights = None if weights is None else torch.tensor(list(weights))
        self.pooling: Pooling = self._pooling()
        self.needs_segments = config.pairs and config.match
        self.metrics = ("micro_f1", "macro_f1") if config.multi_label else ("accuracy", "macro_f1", "matthews")
        self._sets: list[tuple[int, ...]] = []
        self._set_numbers: dict[tuple[int, ...], int] = {}

    def _pooling(self) -> Pooling:
        if self.frame.encoder and self.frame.decoder:
            return "mark"
        chosen = self.config.pooling
        if chosen == "auto":
            return "mark" if self.frame.decoder else "mean"
        fits = chosen in ("mean", "last" if self.frame.decoder else "first")
        if not fits:
            allowed = "mean, last" if self.frame.decoder else "mean, first"
            raise ConfigError("config.out_of_range", where="task.pooling", given=chosen, allowed=allowed)
        return "mean" if chosen == "mean" else "mark"

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """Text, perhaps its partner, and the label where the file has one."""
        pair = (optional_text(row, columns["text_pair"]),) if "text_pair" in columns else ()
        inputs = (text_of(row, columns["text"]), *pair)
        gold = self._gold(row, columns["label"]) if "label" in columns else None
        return Record(inputs, gold, row.origin)

    def _gold(self, row: Row, column: str) -> Any:
        found = labels_in(row, column, multi=self.config.multi_label)
        for label in found:
            if label not in self.number:
                known = ", ".join(self.config.labels)[:300]
                raise DataError("task.unknown_label", origin=row.origin, given=label, known=known)
        return found if self.config.multi_label else found[0]

    def build_head(self, d_model: int) -> nn.Module:
        """A hidden layer and one output for each label."""
        return TaskHead(d_model, len(self.config.labels), ngrams=self.config.ngrams)

    def _lay(self, records: Sequence[Record], labels: Sequence[int]) -> list[TrainingExample]:
        flat = [text for record in records for text in record.inputs]
        encoded = iter(self.tokenizer.encode_ids(flat, plain=True))
        parts = [[next(encoded) for _ in record.inputs] for record in records]
        return [self.frame.whole(self.frame.lay(self.frame.fit(part))[0], label)
                for part, label in zip(parts, labels, strict=True)]  # fmt: skip

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Each text with the number of its label, or of its set of labels."""
        return [(one,) for one in self._lay(records, [self._label(record.gold) for record in records])]

    def _label(self, gold: Any) -> int:
        if not self.config.multi_label:
            return self.number[gold]
        members = tuple(sorted(self.number[label] for label in gold))
        if members not in self._set_numbers:
            self._set_numbers[members] = len(self._sets)
            self._sets.append(members)
        return self._set_numbers[members]

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the label; for several labels, of each yes and no, averaged over the labels."""
        if model.training and self.config.token_dropout:
            batch = self._with_hidden_tokens(batch)
        logits, labels = self._logits(model, model(self._seen(batch)), batch)
        weights = None if self.weights is None else self.weights.to(logits)
        if self.config.multi_label:
            wanted = torch.zeros_like(logits)
            for row, number in enumerate(labels.tolist()):
                wanted[row, list(self._sets[number])] = 1.0
            loss = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weights, reduction="sum")
            return Loss(loss / logits.shape[1], len(labels))
        return Loss(F.cross_entropy(logits, labels, weight=weights, reduction="sum"), len(labels))

    def _logits(self, model: Transformer, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and labels of the labelled places."""
        head = task_head(model)
        assert isinstance(head, TaskHead)
        vectors, labels = labelled_vectors(hidden, batch, self.pooling)
        logits = head(vectors)
        if head.ngrams is not None:
            logits = logits + labelled_runs(head.ngrams, batch).to(logits.dtype)
        return logits, labels

    def _seen(self, batch: Batch) -> Batch:
        return self.frame.marked(batch, match=self.config.match) if self.config.pairs else batch

    def _with_hidden_tokens(self, batch: Batch) -> Batch:
        """The batch with some tokens masked at random, none of those with a role."""
        special, changed = self.tokenizer.special, {}
        assert special.mask is not None, "checked when the task was made"
        for side in ("source", "target"):
            tokens = getattr(batch, side)
            if tokens is not None:
                hidden = torch.rand(tokens.shape, device=tokens.device) < self.config.token_dropout
                hidden &= ~torch.isin(tokens, torch.tensor(special.all_ids, device=tokens.device))
                changed[side] = tokens.masked_fill(hidden, special.mask)
        return replace(batch, **changed)

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The most probable label, or all labels above one half."""

        def read(hidden: Tensor, batch: Batch) -> Tensor:
            return self._logits(model, hidden, batch)[0]

        examples = self._lay(records, [0] * len(records))
        logits = run_places(model, examples, self.frame.pad, read, see=self._seen)
        return self._predictions(torch.cat(logits)) if logits else []

    def _predictions(self, logits: Float[Tensor, "records labels"]) -> list[Prediction]:
        exact = logits.double()
        if self.config.multi_label:
            chances = exact.sigmoid()
            sure = torch.maximum(chances, 1 - chances).prod(1)
        else:
            chances = exact.softmax(1)
            sure = chances.amax(1)
        rows = zip(chances.tolist(), sure.tolist(), logits.tolist(), strict=True)
        return [Prediction(self._answer(row, certainty), certainty, tuple(given), {"probabilities": self._shown(row)})
                for row, certainty, given in rows]  # fmt: skip

    def _answer(self, chances: list[float], sure: float) -> str | list[str]:
        names = self.config.labels
        if self.config.multi_label:
            return [name for name, chance in zip(names, chances, strict=True) if chance >= 0.5]
        return NEUTRAL if sure < self.config.neutral_zone else names[int(np.argmax(chances))]

    def _shown(self, chances: list[float]) -> dict[str, float]:
        return {name: round(chance, 6) for name, chance in zip(self.config.labels, chances, strict=True)}

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """Accuracy, F1 and Matthews' correlation; for several labels, F1 over yes and no."""
        count = len(self.config.labels)
        if self.config.multi_label:
            gold, said = (self._table(answers) for answers in
                          ([r.gold for r in records], [p.answer for p in predictions]))  # fmt: skip
            return {"micro_f1": multi_label_f1(gold, said, average="micro"),
                    "macro_f1": multi_label_f1(gold, said, average="macro")}  # fmt: skip
        gold = np.array([self.number[record.gold] for record in records])
        said = np.array([int(np.argmax(prediction.logits)) for prediction in predictions])
        return {
            "accuracy": accuracy(gold, said),
            "macro_f1": f1(gold, said, count, average="macro"),
            "matthews": matthews(gold, said, count),
        }

    def _table(self, answers: Sequence[Sequence[str]]) -> np.ndarray:
        table = np.zeros((len(answers), len(self.config.labels)), dtype=np.int64)
        for row, labels in enumerate(answers):
            table[row, [self.number[label] for label in labels]] = 1
        return table


def labels_in(row: Row, column: str, *, multi: bool) -> tuple[str, ...]:
    """The label in a column, or all of them: a list, or texts divided by `|`."""
    value = row.values.get(column)
    if multi and isinstance(value, list):
        return tuple(map(str, value))
    if multi and isinstance(value, str) and not value.strip():
        return ()
    text = text_of(row, column)
    return tuple(part.strip() for part in text.split(SPLIT) if part.strip()) if multi else (text.strip(),)


def find_labels(config: Classification, rows: Sequence[Placed]) -> tuple[Classification, list[float] | None]:
    """The configuration as the training data fills it in, and the weights of the classes where asked for.

    Raises:
        DataError: all rows have the same label.
    """
    counts: Counter[str] = Counter()
    for row, columns in rows:
        with suppress(DataError):  # such a row is left out, or stops the run where records are made
            counts.update(labels_in(row, columns["label"], multi=config.multi_label))
    labels = config.labels or tuple(
        sorted(counts, key=lambda name: (len(name), name) if name.isdigit() else (99, name))
    )
    if len(labels) < 2 and not config.multi_label:
        raise DataError("task.one_class", given=", ".join(labels) or "-", count=sum(counts.values()))
    weights = None
    if config.class_weights == "balanced":
        total, kinds = sum(counts.values()), len(labels)
        weights = [total / (kinds * max(counts[name], 1)) for name in labels]
    return replace(config, labels=labels, pairs=any("text_pair" in columns for _, columns in rows)), weights
