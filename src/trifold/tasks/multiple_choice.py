"""Which of several candidates answers a question: exams, how a story goes on, which reply fits.

Each candidate is read behind its question, as a pair, and the head says one number of it; a softmax over the candidates of
a question makes chances of the numbers (as Hugging Face's classes `...ForMultipleChoice` do).

Axes: P pairs of a question and a candidate.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Interval

from trifold.batch import Batch, Loss
from trifold.config import Count, Fraction
from trifold.data.rows import Row
from trifold.errors import DataError, MissingValueError
from trifold.evaluation.metric import Tally, accuracy
from trifold.example import TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.head import segment_log_softmax
from trifold.tasks.judgement import risk_at_coverage
from trifold.tasks.label import label_of, several_in
from trifold.tasks.literal import opened
from trifold.tasks.record import Placed, Record, Role, is_missing, optional_text, text_of
from trifold.tasks.task import Folder, Prediction
from trifold.tasks.whole_text import WholeTextConfig, WholeTexts
from trifold.text import Tokenizer

__all__ = ["MultipleChoice", "MultipleChoiceTask"]

LISTS = ("choices", "options", "candidates", "endings")
ONE_EACH = tuple(f"{name}{mark}{number}" for name in ("choice", "option", "ending", "answer", "sol", "candidate")
                 for mark in ("", "_") for number in range(10))  # fmt: skip
ROLES = (
    Role("question", ("question", "query", "startphrase", "ctx", "goal", "prompt", "premise", "sentence", "sent1")),
    Role("context", ("context", "article", "passage"), needed=False),
    Role("choices", (*LISTS, *ONE_EACH, *"abcdefgh"), together=True),
    Role("label", ("label", "answer", "answerkey", "answer_key", "gold", "correct"), label=True),
)  # fmt: skip
LETTER = re.compile(r"\(?([A-Za-z])[).]?")


@dataclass(frozen=True, kw_only=True, slots=True)
class MultipleChoice(WholeTextConfig):
    """Which of several candidates answers a question, each row with candidates of its own.

    Attributes:
        first_number: what a label that is a number calls the first candidate; None: found in the training data.
        match: as in classification.
        label_as: whether a label is the text of a candidate or says its place, by name, letter or number; `auto`: what fits
            all training rows.
        pooling: as in classification.
        ngrams: 0; a linear model of runs of tokens reads single texts.
        token_dropout: as in classification.
        max_length: longest question with one candidate in tokens; the rest is cut off at the end, of the longer side first.

    Example:
        >>> MultipleChoice().first_number is None
        True
    """

    roles: ClassVar[tuple[Role, ...]] = ROLES
    classifies: ClassVar[bool] = True

    kind: Literal["multiple_choice"] = "multiple_choice"
    first_number: Annotated[int, Interval(ge=0, le=1)] | None = None
    label_as: Literal["auto", "text", "place"] = "auto"
    match: bool = False
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    ngrams: Annotated[int, Interval(ge=0, le=0)] = 0
    token_dropout: Fraction = 0.0
    max_length: Count = 512

    @classmethod
    def row_of(cls, parts: Sequence[Any]) -> dict[str, Any] | None:
        """The question, its candidates and the right one; or the candidates as one list, perhaps behind a context."""
        if len(parts) == 4 and isinstance(parts[2], list | tuple):
            return dict(zip((role.name for role in cls.roles), parts, strict=True))
        if len(parts) > 3:
            return {"question": parts[0], "choices": list(parts[1:-1]), "label": parts[-1]}
        return dict(zip(("question", "choices", "label"), parts, strict=True)) if len(parts) == 3 else None

    def complete(self, rows: Sequence[Placed]) -> "tuple[MultipleChoice, list[float] | None]":
        """With what labels that are numbers count from: 1, where none is 0; and with how labels name candidates.

        Raises:
            DataError: all labels are texts of candidates and places of others at once.
        """
        found = {label_of(row.values.get(columns["label"])) for row, columns in rows}
        first = (
            int("0" not in found and any(map(_is_number, found))) if self.first_number is None else self.first_number
        )
        label_as = _reading_of(rows, first) if self.label_as == "auto" else self.label_as
        return replace(self, first_number=first, label_as=label_as), None

    @classmethod
    def found_in(cls, folder: Folder) -> "MultipleChoice | None":
        """A folder whose head says a number of a question with a candidate."""
        fits = folder.outputs is not None and folder.outputs.kind == "multiple_choice"
        return cls(first_number=0, max_length=folder.max_length) if fits else None

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "MultipleChoiceTask":
        """The task for a model."""
        del class_weights
        return MultipleChoiceTask(self, tokenizer, model)


def _is_number(label: str | None) -> bool:
    return label is not None and label.isdecimal()


def _place_of(label: str, names: Mapping[str, int], first: int) -> int:
    """The place that a label says, by name, letter or number; -1 where it says none."""
    if label in names:
        return names[label]
    letter = LETTER.fullmatch(label)
    return ord(letter[1].upper()) - ord("A") if letter else int(label) - first if _is_number(label) else -1


def _reading_of(rows: Sequence[Placed], first: int) -> Literal["auto", "text", "place"]:
    """How the labels of all rows are to be read; `auto` where no one way fits all of them.

    Raises:
        DataError: both ways do, and they disagree.
    """
    readings = []
    for row, columns in rows:
        label = label_of(row.values.get(columns["label"]))
        try:
            names, choices = _choices_in(row, columns["choices"])
        except DataError:  # the row is refused or left out later
            continue
        if label is not None:
            written = isinstance(row.values.get(columns["label"]), str)  # a number that is no text is a place
            text = label if written and label in choices.values() else None
            readings.append((row, text, choices.get(_place_of(label, names, first))))
    as_text = all(text is not None for _, text, _ in readings)
    as_place = all(named is not None for _, _, named in readings)
    apart = next((row for row, text, named in readings if text != named), None)
    if as_text and as_place and apart is not None:
        raise DataError("task.two_readings", origin=apart.origin)
    return "text" if as_text and not as_place else "place" if as_place else "auto"


class MultipleChoiceTask(WholeTexts[MultipleChoice]):
    """A record is a question and its candidates; what should be said is the text of one of these.

    Args:
        config: lengths, and what labels count from.
        tokenizer: the model's.
        model: the model's configuration.
    """

    metrics = ("accuracy",)

    def __init__(self, config: MultipleChoice, tokenizer: Tokenizer, model: Any) -> None:
        super().__init__(config, tokenizer, model, pairs=True, labels=("score",), head="multiple_choice")

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """The question, with its context behind it, then the candidates, and the right one where the file says it.

        Raises:
            DataError: there are fewer than two candidates, or the label names none of them.
        """
        context = optional_text(row, columns.get("context"))
        question = "\n".join(filter(None, (text_of(row, columns["question"]), context)))
        names, choices = _choices_in(row, columns["choices"])
        gold = self._gold(row, columns["label"], names, choices) if "label" in columns else None
        return Record((question, *choices.values()), gold, row.origin)

    def _gold(self, row: Row, column: str, names: Mapping[str, int], choices: Mapping[int, str]) -> str:
        """The candidate that a label names: by its name, its letter, its number or its text."""
        label = label_of(row.values.get(column))
        if label is None:
            raise MissingValueError("task.missing_value", origin=row.origin, name=column)
        place = -1 if self.config.label_as == "text" else _place_of(label, names, self.config.first_number or 0)
        if place in choices:
            return choices[place]
        if label in choices.values() and self.config.label_as != "place":
            return label
        raise DataError(
            "task.unknown_choice",
            origin=row.origin,
            given=label[:80],
            count=len(choices),
            known=" | ".join(choices.values())[:300],
        )

    def place(self, texts: Sequence[str], origin: str) -> Placed:
        """The first text is the question, the others are its candidates."""
        values = {"question": "".join(texts[:1]), "choices": list(texts[1:])}
        return Row(values, origin), {name: name for name in values}

    def made_up_row(self) -> dict[str, Any]:
        """A question with two candidates."""
        return {"question": "the text to read?", "choices": ["the answer", "another"], "label": "A"}

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """For each record its pairs together, with 1 for the right one, and the number of the record beside them."""
        labels = [
            int(number == record.inputs.index(record.gold, 1))
            for record in records
            for number in range(1, len(record.inputs))
        ]
        owners = [{"record": [number]} for number, record in enumerate(records) for _ in record.inputs[1:]]
        laid = iter(self.lay(_pairs(records), labels, owners))
        return [tuple(islice(laid, len(record.inputs) - 1)) for record in records]

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the right candidate among those of its question."""
        scores, labels = self.outputs_of(model, batch)
        questions, keys = batch.extras["record"][:, 0].unique(return_inverse=True)
        chances = segment_log_softmax(scores, keys)[:, 0]
        return Loss(-chances[labels == 1].sum(), len(questions))

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The likeliest candidate of each question."""
        scores = self.predicted(model, _pairs(records))[:, 0].double() if records else torch.empty(0)
        parts = scores.split([len(record.inputs) - 1 for record in records])
        return [self._prediction(record, part) for record, part in zip(records, parts, strict=True)]

    def _prediction(self, record: Record, scores: torch.Tensor) -> Prediction:
        chances = scores.softmax(0).tolist()
        best = int(np.argmax(chances))
        details = {"choice": best, "probabilities": [round(chance, 6) for chance in chances]}
        return Prediction(record.inputs[1 + best], chances[best], tuple(scores.tolist()), details)

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """The share of questions whose right candidate is chosen."""
        gold = np.array([record.gold for record in records])
        return {"accuracy": accuracy(gold, np.array([one.answer for one in predictions]))}

    def baselines(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
        """Any candidate, the longest, and that at the place where the right one stands most often."""
        draw = np.random.default_rng(0)
        places = Counter(record.inputs.index(record.gold, 1) for record in train)
        usual = places.most_common(1)[0][0]
        return {
            "random": [Prediction(record.inputs[draw.integers(1, len(record.inputs))]) for record in test],
            "longest": [Prediction(max(record.inputs[1:], key=len)) for record in test],
            "majority_place": [Prediction(record.inputs[min(usual, len(record.inputs) - 1)]) for record in test],
        }

    def judge(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """The share of wrong answers for every share of questions answered."""
        right = np.array([one.answer == record.gold for record, one in zip(records, predictions, strict=True)])
        return {"risk_coverage": risk_at_coverage(np.array([one.confidence for one in predictions]), right)}


def _pairs(records: Sequence[Record]) -> list[Record]:
    """Each question with each of its candidates."""
    return [Record((record.inputs[0], choice)) for record in records for choice in record.inputs[1:]]


def _choices_in(row: Row, column: str) -> tuple[dict[str, int], dict[int, str]]:
    """The candidates of a row by their places, of which some may be empty; and the places by the names it gives them.

    Raises:
        DataError: there are fewer than two.
    """
    choices = opened(several_in(row.values, column))
    names: list[Any] = []
    if isinstance(choices, Mapping) and "text" in choices:
        names, choices = list(choices.get("label", ())), choices["text"]
    elif isinstance(choices, Mapping):
        names, choices = list(choices), list(choices.values())
    cells = list(choices) if isinstance(choices, list | tuple) else [choices]
    there = [number for number, cell in enumerate(cells) if not is_missing(cell)]
    if len(there) < 2:
        raise DataError("task.few_choices", origin=row.origin, name=column, given=len(there))
    texts = {number: text_of(Row({column: cells[number]}, row.origin), column) for number in there}
    return {label_of(names[number]) or "": number for number in reversed(there) if number < len(names)}, texts
