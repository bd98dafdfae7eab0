"""Labels for texts and pairs of texts: topics, sentiment, inference, paraphrase."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from trifold.batch import Batch, Loss
from trifold.config import Config, Count, Fraction, require
from trifold.data.rows import Row
from trifold.errors import ConfigError, DataError, MissingValueError
from trifold.evaluation.metric import Tally, accuracy, f1, matthews, multi_label_f1
from trifold.example import TrainingExample
from trifold.locale import message
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.baseline import simple_classifiers, simple_labels
from trifold.tasks.beside_ngrams import BesideNGrams, BesideNGramsConfig
from trifold.tasks.judgement import about_labels
from trifold.tasks.label import (
    LabelFormat,
    agreed_labels,
    alike,
    balanced_weights,
    divide_known,
    find_format,
    label_keys,
    named,
    names_in_files,
    several_in,
    sort_labels,
)
from trifold.tasks.record import Columns, Placed, Record, Role
from trifold.tasks.task import Folder, Labels, Prediction
from trifold.tasks.whole_text import texts_in
from trifold.text import Tokenizer

__all__ = ["Classification", "ClassificationTask", "find_labels", "labels_in", "notes_on"]

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification(BesideNGramsConfig):
    """Which of a few labels a text, or a pair of texts, has. Sentiment is a configuration of it.

    Attributes:
        labels: their names, in the order of the head's outputs; empty: found in the training data.
        pairs: whether there are two texts; found in the training data.
        match: tell the model of a pair which tokens of the second text the first has too. Helps a small model; no other
            tool can express it, so such a model is not portable.
        label_names: names of integer labels, in their order, or each as `number=name`; also of the places of lists of 0
            and 1. The labels are then these.
        multi_label: a text may have any number of labels.
        label_separator: what divides labels in one text; empty for nothing; None: found in the training data.
        label_vectors: labels are lists with 1 at the place of each label that a text has; found in the training data.
        class_weights: `balanced` weighs each class as if all were equally frequent.
        pooling: what stands for a text: the mean of its vectors, its first or its last; `auto` is the mean for an
            encoder, the last for a decoder. An encoder-decoder always reads its decoder's first vector.
        ngrams, ngram_rows: of the linear classifier beside it, as in `BesideNGramsConfig`.
        token_dropout: how often a token is hidden in training, as in masked pre-training; against learning by heart.
        neutral_zone: of sentiment: an answer whose probability is below this is "neutral"; 0 for none.
        max_length: longest text in tokens; the rest is cut off at the end, of a pair's longer side first.

    Example:
        >>> Classification(labels=("no", "yes")).multi_label
        False
    """

    roles: ClassVar[tuple[Role, ...]] = ROLES
    classifies: ClassVar[bool] = True

    kind: Literal["classification"] = "classification"
    labels: tuple[str, ...] = ()
    pairs: bool = False
    match: bool = False
    label_names: tuple[str, ...] = ()
    multi_label: bool = False
    label_separator: str | None = None
    label_vectors: bool = False
    class_weights: Literal["none", "balanced"] = "none"
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    token_dropout: Fraction = 0.0
    neutral_zone: Fraction = 0.0
    max_length: Count = 512

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        distinct = len(set(self.labels)) == len(self.labels)
        require(distinct, where="task.labels", given=self.labels, allowed="each label once")
        one = not (self.multi_label or self.label_vectors)
        divided = one and bool(self.label_separator)
        require(
            not divided, where="task.label_separator", given=self.label_separator, allowed="only with task.multi_label"
        )

    @property
    def may_lack_label(self) -> bool:
        """A text of several labels may have none."""
        return self.multi_label

    def named_by_files(self, columns: Mapping[str, Columns]) -> "Classification":
        """With the names of integer labels that files give themselves, unless the user did."""
        if self.label_names or self.labels:
            return self
        return replace(self, label_names=names_in_files(columns, "label"))

    def complete(self, rows: Sequence[Placed]) -> "tuple[Classification, list[float] | None]":
        """With labels, what divides them, and whether texts come in pairs.

        Raises:
            DataError: all rows have the same label, or have several where one is wanted.
        """
        return find_labels(self, rows)

    def labels_in(self, rows: Sequence[Placed]) -> Labels:
        """The labels of each row."""
        return labels_in(self, rows)

    def notes(self, wanted: Any) -> list[str]:
        """How labels were read, and how to say it otherwise."""
        return notes_on(wanted, self)

    def agree(self, model: Pretrained) -> "Classification":
        """With the labels in the order that a tuned model has them in."""
        return replace(self, labels=agreed_labels(self.labels, model))

    @classmethod
    def as_meant(cls, saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """An older run says nothing of marks of pairs, which all had."""
        return {**saved, "match": True} if "match" not in saved and saved.get("pairs") is True else saved

    @classmethod
    def found_in(cls, folder: Folder) -> "Classification | None":
        """A folder whose head says labels of a text or a pair."""
        outputs = folder.outputs
        if outputs is None or outputs.kind != "classification" or outputs.problem == "regression":
            return None
        several = outputs.problem == "multi_label_classification"
        return cls(labels=outputs.labels, pairs=True, multi_label=several, max_length=folder.max_length)

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "ClassificationTask":
        """The task for a model."""
        return ClassificationTask(self, tokenizer, model, weights=class_weights)


class ClassificationTask(BesideNGrams[Classification]):
    """One label, or any number of them, for a text or a pair.

    Args:
        config: with its labels.
        tokenizer: the model's.
        model: the model's configuration.
        weights: weight of each class in the loss; None for 1 each.

    Raises:
        ConfigError: there are fewer than two labels.
    """

    def __init__(
        self, config: Classification, tokenizer: Tokenizer, model: Any, *, weights: Sequence[float] | None = None
    ) -> None:
        if len(config.labels) < (1 if config.multi_label else 2):
            raise ConfigError("task.few_labels", given=", ".join(config.labels) or "-")
        problem = "multi_label_classification" if config.multi_label else "single_label_classification"
        super().__init__(config, tokenizer, model, pairs=config.pairs, labels=config.labels, problem=problem)
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
        labels = self.format.read(several_in(row.values, column), row.origin, column)
        if labels is None:
            raise MissingValueError("task.missing_value", origin=row.origin, name=column)
        if self.config.multi_label:
            labels = [part for label in labels for part in self._parts(label)]
        for label in labels:
            if label not in self.keys:
                known = ", ".join(self.config.labels)[:300]
                raise DataError("task.unknown_label", origin=row.origin, given=label, known=known)
        gold = tuple(self.config.labels[number] for number in sorted({self.keys[label] for label in labels}))
        return gold if self.config.multi_label else gold[0]

    def _parts(self, label: str) -> Sequence[str]:
        """A label, or the known labels in it: a file may divide them otherwise than those of training."""
        return [label] if label in self.keys else divide_known(label, self.keys) or [label]

    def made_up_row(self) -> dict[str, Any]:
        """A row with the first label."""
        return {**super().made_up_row(), "label": self.config.labels[0]}

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Each text with the number of its label, or with 1 for each of its labels."""
        wanted = self.wanted(records).tolist()
        if self.config.multi_label:
            return [(one,) for one in self.lay(records, extras=[{"wanted": row} for row in wanted])]
        return [(one,) for one in self.lay(records, wanted)]

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the label; for several labels, of each yes and no, averaged over the labels."""
        logits, labels = self.outputs_of(model, batch)
        if self.config.multi_label:
            return Loss(self.criterion(logits, batch.extras["wanted"]) / logits.shape[1], len(labels))
        return Loss(self.criterion(logits, labels), len(labels))

    def criterion(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Cross-entropy of the labels' numbers, or of each yes and no."""
        weights = None if self.weights is None else self.weights.to(logits)
        if self.config.multi_label:
            return F.binary_cross_entropy_with_logits(logits, wanted.to(logits), pos_weight=weights, reduction="sum")
        return F.cross_entropy(logits, wanted, weight=weights, reduction="sum")

    def wanted(self, records: Sequence[Record]) -> Tensor:
        """The number of each text's label; for several labels, 1 for each that it has."""
        if self.config.multi_label:
            return torch.from_numpy(self._table([record.gold for record in records])).float()
        return torch.tensor([self.number[record.gold] for record in records])

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
        return [
            Prediction(self._answer(row, certainty), certainty, tuple(given), {"probabilities": self._shown(row)})
            for row, certainty, given in rows
        ]

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
            gold = self._table([record.gold for record in records])
            said = self._table([one.answer for one in predictions])
            return {
                "micro_f1": multi_label_f1(gold, said, average="micro"),
                "macro_f1": multi_label_f1(gold, said, average="macro"),
            }
        gold = np.array([self.number[record.gold] for record in records])
        said = np.array([int(np.argmax(prediction.logits)) for prediction in predictions])
        return {
            "accuracy": accuracy(gold, said),
            "macro_f1": f1(gold, said, count, average="macro"),
            "matthews": matthews(gold, said, count),
        }

    def baselines(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
        """The most frequent label, and logistic regression on TF-IDF."""
        simple = simple_labels if self.config.multi_label else simple_classifiers
        return simple(self.config.labels, train, test)

    def judge(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """The labels; where there is one a text, also which are taken for which, and how far chances can be trusted."""
        if self.config.multi_label:
            return {"labels": list(self.config.labels)}
        gold = np.array([self.number[record.gold] for record in records])
        return about_labels(self.config.labels, gold, np.array([one.logits for one in predictions]))

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
    labels: list[tuple[str, ...] | None] = []
    for cell, origin in cells:
        try:
            labels.append(form.read(cell, origin, "label"))
        except DataError:
            labels.append(None)
    return labels


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
    pairs = any("text_pair" in columns for _, columns in rows)
    filled = replace(
        config, labels=labels, label_separator=form.separator, label_vectors=bool(form.vector), pairs=pairs
    )
    if config.class_weights == "none":
        return filled, None
    return filled, balanced_weights(counts, filled.labels, filled.label_names)


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
