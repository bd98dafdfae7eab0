"""Labels for texts and pairs of texts: topics, sentiment, inference, paraphrase."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from trifold.batch import Batch, Loss
from trifold.data.rows import Row
from trifold.errors import ConfigError, DataError, MissingValueError
from trifold.evaluation.metric import Tally, accuracy, f1, matthews, multi_label_f1
from trifold.example import TrainingExample
from trifold.locale import message
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.config import Classification
from trifold.tasks.label import (
    LabelFormat,
    alike,
    divide_known,
    find_format,
    label_keys,
    named,
    several_in,
    sort_labels,
)
from trifold.tasks.record import Placed, Record, Role
from trifold.tasks.task import Prediction
from trifold.tasks.whole_text import WholeTexts, texts_in
from trifold.text import Tokenizer

__all__ = ["ClassificationTask", "find_labels", "labels_in", "notes_on"]

NEUTRAL = "neutral"
SCORES = 10
"""From so many different broken numbers on, labels are probably scores."""
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


class ClassificationTask(WholeTexts):
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
        problem = "multi_label_classification" if config.multi_label else "single_label_classification"
        super().__init__(config, tokenizer, model, labels=config.labels, problem=problem)
        self.config = config
        self.number = {label: number for number, label in enumerate(config.labels)}
        self.keys = label_keys(config.labels, config.label_names)
        self.format = LabelFormat(
            config.multi_label, config.label_separator or "", config.labels * config.label_vectors
        )
        self.weights = None if weights is None else torch.tensor(list(weights))
        self.metrics = ("micro_f1", "macro_f1") if config.multi_label else ("accuracy", "macro_f1", "matthews")

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """Text, perhaps its partner, and the label where the file has one."""
        gold = self._gold(row, columns["label"]) if "label" in columns else None
        return Record(texts_in(row, columns), gold, row.origin)

    def _gold(self, row: Row, column: str) -> Any:
        found = self.format.read(several_in(row.values, column), row.origin, column)
        if found is None:
            raise MissingValueError("task.missing_value", origin=row.origin, name=column)
        if self.config.multi_label:
            found = [part for label in found for part in self._parts(label)]
        for label in found:
            if label not in self.keys:
                known = ", ".join(self.config.labels)[:300]
                raise DataError("task.unknown_label", origin=row.origin, given=label, known=known)
        gold = tuple(self.config.labels[number] for number in sorted({self.keys[label] for label in found}))
        return gold if self.config.multi_label else gold[0]

    def _parts(self, label: str) -> Sequence[str]:
        """A label, or the known labels in it: a file may divide them otherwise than those of training."""
        return [label] if label in self.keys else divide_known(label, self.keys) or [label]

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Each text with the number of its label, or with 1 for each of its labels."""
        if self.config.multi_label:
            wanted = self._table([record.gold for record in records]).tolist()
            return [(one,) for one in self.lay(records, extras=[{"wanted": row} for row in wanted])]
        return [(one,) for one in self.lay(records, [self.number[record.gold] for record in records])]

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the label; for several labels, of each yes and no, averaged over the labels."""
        logits, labels = self.outputs_of(model, batch)
        weights = None if self.weights is None else self.weights.to(logits)
        if self.config.multi_label:
            wanted = batch.extras["wanted"].to(logits)
            loss = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weights, reduction="sum")
            return Loss(loss / logits.shape[1], len(labels))
        return Loss(F.cross_entropy(logits, labels, weight=weights, reduction="sum"), len(labels))

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The most probable label, or all labels above one half."""
        logits = self.predicted(model, records)
        return self._predictions(logits) if len(logits) else []

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


def labels_in(config: Classification, rows: Sequence[Placed]) -> list[tuple[str, ...] | None]:
    """The labels of each row; None where it has none, or they are damaged."""
    cells = _cells(rows)
    try:
        form = _format(config, cells)
    except DataError:  # the run stops where its labels are found
        form = LabelFormat(config.multi_label)
    found: list[tuple[str, ...] | None] = []
    for cell, origin in cells:
        try:
            found.append(form.read(cell, origin, "label"))
        except DataError:
            found.append(None)
    return found


def _cells(rows: Sequence[Placed]) -> list[tuple[Any, str]]:
    return [(several_in(row.values, columns["label"]), row.origin) for row, columns in rows]


def _format(config: Classification, cells: Sequence[tuple[Any, str]]) -> LabelFormat:
    names = named(config.label_names) or config.labels
    return find_format(cells, multi=config.multi_label, separator=config.label_separator, names=names)


def find_labels(config: Classification, rows: Sequence[Placed]) -> tuple[Classification, list[float] | None]:
    """The configuration as the training data fills it in, and the weights of the classes where asked for.

    Raises:
        DataError: all rows have the same label, or have several where one is wanted.
    """
    cells, names = _cells(rows), named(config.label_names) or config.labels
    form = _format(config, cells)
    counts, problem = _count(form, cells)
    labels = names or form.vector or _marked_columns(cells) or sort_labels(counts)
    if len(occurring := sort_labels(counts)) < 2 and not config.multi_label:
        given = ", ".join(occurring) or "-"
        raise problem or DataError("task.one_class", given=given, count=sum(counts.values()))
    filled = replace(config, labels=labels, label_separator=form.separator, label_vectors=bool(form.vector),
                     pairs=any("text_pair" in columns for _, columns in rows))  # fmt: skip
    return filled, _weights(counts, filled) if config.class_weights == "balanced" else None


def _count(form: LabelFormat, cells: Sequence[tuple[Any, str]]) -> tuple[Counter[str], DataError | None]:
    """How often each label occurs, and what is wrong with the first damaged cell, which is dealt with as a record."""
    counts: Counter[str] = Counter()
    problem = None
    for cell, origin in cells:
        try:
            counts.update(form.read(cell, origin, "label") or ())
        except DataError as error:
            problem = problem or error
    return counts, problem


def _marked_columns(cells: Sequence[tuple[Any, str]]) -> tuple[str, ...]:
    """The labels whose columns hold 0 and 1, in their order; nothing where labels stand in one column."""
    return tuple(dict.fromkeys(name for cell, _ in cells if isinstance(cell, Mapping) for name in cell))


def _weights(counts: Mapping[str, int], config: Classification) -> list[float]:
    """The weight of each class as if all were equally frequent."""
    keys, found = label_keys(config.labels, config.label_names), Counter()
    for label, count in counts.items():
        found[keys.get(label, -1)] += count
    total, kinds = sum(counts.values()), len(config.labels)
    return [total / (kinds * max(found[number], 1)) for number in range(kinds)]


def notes_on(wanted: Classification, filled: Classification) -> list[str]:
    """What was taken from the training data that a person should know, and how to say it otherwise.

    Example:
        >>> notes_on(Classification(), Classification(labels=("Pos", "neg", "pos")))
        ['these labels differ only by case or width and count as different: Pos, pos']
    """
    told = [message("task.note_alike", labels=", ".join(group)) for group in alike(filled.labels)]
    if filled.label_names and not wanted.label_names:
        told.append(message("task.note_names", names=", ".join(filled.label_names)[:200]))
    if filled.label_vectors and not (wanted.labels or filled.label_names):
        told.append(message("task.note_vectors", labels=", ".join(filled.labels)[:200]))
    if filled.label_separator and wanted.label_separator is None:
        told.append(message("task.note_separator", separator=filled.label_separator))
    numbers = [label for label in filled.labels if re.fullmatch(r"-?\d+\.\d+", label)]
    if len(numbers) > SCORES and not filled.multi_label:
        told.append(message("task.note_scores", count=len(numbers)))
    return told
