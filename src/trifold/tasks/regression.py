"""Scores of texts and of pairs of texts: ratings, quality, how alike two sentences are.

The head has one output z, in units of the training scores: `score = mean + deviation * z`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from trifold.batch import Batch, Loss
from trifold.data.rows import Row
from trifold.errors import DataError
from trifold.evaluation.metric import Tally
from trifold.evaluation.score import mean_absolute_error, pearson, spearman
from trifold.example import TrainingExample
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.classification import ROLES as TEXTS
from trifold.tasks.config import Regression
from trifold.tasks.head import task_head
from trifold.tasks.record import Placed, Record, Role, text_of
from trifold.tasks.task import Prediction
from trifold.tasks.whole_text import WholeTexts, texts_in
from trifold.text import Tokenizer

__all__ = ["SCORE", "RegressionTask", "find_scale", "scale_of", "score_of"]

SCORE = ("score", "scores", "similarity", "similarity_score", "relatedness_score", "rating", "stars", "label", "labels",
         "target", "value", "gold")  # fmt: skip
ROLES = (*TEXTS[:2], Role("score", SCORE, label=True))


class RegressionTask(WholeTexts):
    """A score for a text or a pair.

    Args:
        config: with the scale of the training scores.
        tokenizer: the model's.
        model: the model's configuration.
    """

    roles = ROLES
    metrics = ("pearson", "spearman", "mean_absolute_error")

    def __init__(self, config: Regression, tokenizer: Tokenizer, model: Any) -> None:
        super().__init__(config, tokenizer, model, labels=("score",), problem="regression")
        self.config = config
        self.mean = 0.0 if config.mean is None else config.mean
        self.deviation = 1.0 if config.deviation is None else config.deviation

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """Text, perhaps its partner, and the score where the file has one."""
        inputs = texts_in(row, columns)
        gold = score_of(row, columns["score"]) if "score" in columns else None
        return Record(inputs, gold, row.origin)

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Each text with its score, in deviations from the mean."""
        scores = [{"score": [(record.gold - self.mean) / self.deviation]} for record in records]
        return [(one,) for one in self.lay(records, extras=scores)]

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Squared distance of output and score, in units of the training scores."""
        outputs, _ = self.outputs_of(model, batch)
        wanted = batch.extras["score"][:, 0].to(outputs)
        return Loss(F.mse_loss(outputs[:, 0], wanted, reduction="sum"), len(wanted))

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The score of each record."""
        outputs = self.predicted(model, records)[:, 0].double()
        return [Prediction(score) for score in (self.mean + self.deviation * outputs).tolist()]

    def fold(self, model: Pretrained) -> None:
        """Let the head of a model say scores themselves, as other tools expect it to."""
        head = task_head(model)
        if head.output.bias is None and self.mean != 0.0:
            return
        with torch.no_grad():
            head.output.weight.mul_(self.deviation)
            if head.output.bias is not None:
                head.output.bias.mul_(self.deviation).add_(self.mean)
        self.mean, self.deviation = 0.0, 1.0
        self.config = replace(self.config, mean=0.0, deviation=1.0)

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """Correlation of scores and of their ranks, and how far off they are on average."""
        gold, said = np.array([record.gold for record in records]), np.array([one.answer for one in predictions])
        return {"pearson": pearson(gold, said), "spearman": spearman(gold, said),
                "mean_absolute_error": mean_absolute_error(gold, said)}  # fmt: skip


def find_scale(config: Regression, rows: Sequence[Placed]) -> Regression:
    """The configuration with mean and deviation of the training scores.

    Raises:
        DataError: all rows have the same score.
    """
    count, mean, deviation = scale_of(rows)
    if not deviation:
        raise DataError("task.one_score", given=mean, count=count)
    mean = mean if config.mean is None else config.mean
    deviation = deviation if config.deviation is None else config.deviation
    return replace(config, mean=mean, deviation=deviation, pairs=any("text_pair" in columns for _, columns in rows))


def scale_of(rows: Sequence[Placed]) -> tuple[int, float, float]:
    """How many rows have a score, and the mean and deviation of these; a deviation of 0 where they do not vary.

    Example:
        >>> scale_of([(Row({"score": score}, ""), {"score": "score"}) for score in (1, "3", None)])
        (2, 2.0, 1.0)
    """
    scores = np.array([score for row, columns in rows if (score := _score_or_none(row, columns["score"])) is not None])
    if not len(scores):
        return 0, 0.0, 0.0
    varies = scores.std() > 1e-12 * np.abs(scores).max()
    return len(scores), float(scores.mean()), float(scores.std()) if varies else 0.0


def _score_or_none(row: Row, column: str) -> float | None:
    """The score of a row; None where it is left out, or stops the run, when records are made."""
    try:
        return score_of(row, column)
    except DataError:
        return None


def score_of(row: Row, column: str) -> float:
    """The number in a column.

    Raises:
        DataError: there is none, or it is not finite.

    Example:
        >>> score_of(Row({"score": "4.5"}, "a.csv:2"), "score")
        4.5
    """
    text = text_of(row, column).strip()
    try:
        score = {"true": 1.0, "false": 0.0}.get(text.lower())
        score = float(text) if score is None else score
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError("task.no_number", origin=row.origin, name=column, given=text[:80])
    return score
