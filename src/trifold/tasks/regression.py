"""Scores of texts and of pairs of texts: ratings, quality, how alike two sentences are.

The head has one output z, in units of the training scores: `score = mean + deviation * z`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trifold.batch import Batch, Loss
from trifold.config import Count, Fraction, Positive
from trifold.data.rows import Row
from trifold.errors import DataError
from trifold.evaluation.metric import Tally
from trifold.evaluation.score import mean_absolute_error, pearson, spearman
from trifold.example import TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.baseline import tfidf_ridge
from trifold.tasks.beside_ngrams import BesideNGrams, BesideNGramsConfig
from trifold.tasks.classification import ROLES as TEXTS
from trifold.tasks.head import task_head
from trifold.tasks.judgement import furthest
from trifold.tasks.record import Placed, Record, Role, text_of
from trifold.tasks.task import Folder, Prediction
from trifold.tasks.whole_text import texts_in
from trifold.text import Tokenizer

__all__ = ["SCORE", "Regression", "RegressionTask", "find_scale", "scale_of", "score_of"]

SCORE = ("score", "scores", "similarity", "similarity_score", "relatedness_score", "rating", "stars", "label", "labels",
         "target", "value", "gold")  # fmt: skip
ROLES = (*TEXTS[:2], Role("score", SCORE, label=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression(BesideNGramsConfig):
    """A score of a text, or of how much a pair of texts has in common: ratings, quality, similarity.

    The model's output is a score in standard deviations from the mean of training.

    Attributes:
        mean, deviation: of the training scores; None: found in the training data.
        pairs: whether there are two texts; found in the training data.
        match: as in classification.
        pooling: as in classification.
        ngrams, ngram_rows: as in classification.
        token_dropout: as in classification.
        max_length: longest text in tokens; the rest is cut off at the end, of a pair's longer side first.

    Example:
        >>> Regression(mean=2.5, deviation=1.5).pairs
        False
    """

    roles: ClassVar[tuple[Role, ...]] = ROLES
    classifies: ClassVar[bool] = True

    kind: Literal["regression"] = "regression"
    mean: float | None = None
    deviation: Positive | None = None
    pairs: bool = False
    match: bool = False
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    token_dropout: Fraction = 0.0
    max_length: Count = 512

    def complete(self, rows: Sequence[Placed]) -> "tuple[Regression, list[float] | None]":
        """With mean and deviation of the training scores.

        Raises:
            DataError: all rows have the same score.
        """
        return find_scale(self, rows), None

    def agree(self, model: Pretrained) -> "Regression":
        """In scores as a head can say them: as they are where it said so before, about 0 where it has no bias."""
        if model.outputs is not None and model.outputs.problem == "regression":
            return replace(self, mean=0.0, deviation=1.0)
        kind = None if model.classes is None else model.classes.tasks.get("classification")
        if kind is None or kind.build({}, 1).output_bias:
            return self
        mean, deviation = self.mean or 0.0, self.deviation or 1.0
        return replace(self, mean=0.0, deviation=(mean**2 + deviation**2) ** 0.5)

    @classmethod
    def found_in(cls, folder: Folder) -> "Regression | None":
        """A folder whose head says a number of a text or a pair."""
        outputs = folder.outputs
        if outputs is None or outputs.kind != "classification" or outputs.problem != "regression":
            return None
        return cls(mean=0.0, deviation=1.0, pairs=True, max_length=folder.max_length)

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "RegressionTask":
        """The task for a model."""
        del class_weights
        return RegressionTask(self, tokenizer, model)


class RegressionTask(BesideNGrams[Regression]):
    """A score for a text or a pair.

    Args:
        config: with the scale of the training scores.
        tokenizer: the model's.
        model: the model's configuration.
    """

    metrics = ("pearson", "spearman", "mean_absolute_error")

    def __init__(self, config: Regression, tokenizer: Tokenizer, model: Any) -> None:
        super().__init__(config, tokenizer, model, pairs=config.pairs, labels=("score",), problem="regression")
        self.mean = 0.0 if config.mean is None else config.mean
        self.deviation = 1.0 if config.deviation is None else config.deviation

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """Text, perhaps its partner, and the score where the file has one."""
        inputs = texts_in(row, columns)
        gold = score_of(row, columns["score"]) if "score" in columns else None
        return Record(inputs, gold, row.origin)

    def made_up_row(self) -> dict[str, Any]:
        """A row with a number."""
        return {**super().made_up_row(), "score": "1"}

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Each text with its score, in deviations from the mean."""
        scores = self.wanted(records).tolist() if records else []
        return [(one,) for one in self.lay(records, extras=[{"score": row} for row in scores])]

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Squared distance of output and score, in units of the training scores."""
        outputs, _ = self.outputs_of(model, batch)
        return Loss(self.criterion(outputs, batch.extras["score"]), len(outputs))

    def criterion(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The squared distances."""
        return F.mse_loss(logits, wanted.to(logits), reduction="sum")

    def wanted(self, records: Sequence[Record]) -> Tensor:
        """The score of each text, in deviations from the mean."""
        return torch.tensor([[(record.gold - self.mean) / self.deviation] for record in records])

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The score of each record."""
        outputs = self.predicted(model, records)[:, 0].double()
        return [Prediction(score) for score in (self.mean + self.deviation * outputs).tolist()]

    def fold(self, model: Pretrained) -> None:
        """Let the head of a model say scores themselves, as other tools expect it to."""
        head = task_head(model)
        if model.task_class is None or (head.output.bias is None and self.mean != 0.0):
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
        return {
            "pearson": pearson(gold, said),
            "spearman": spearman(gold, said),
            "mean_absolute_error": mean_absolute_error(gold, said),
        }

    def baselines(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
        """The mean score, and ridge regression on TF-IDF."""
        return {"mean": [Prediction(self.mean)] * len(test), **tfidf_ridge(train, test)}

    def judge(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """The scores that are furthest off."""
        return {"worst": furthest(records, predictions)}


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
