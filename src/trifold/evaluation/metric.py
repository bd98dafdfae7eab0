"""Metrics as functions of summed per-example numbers, so that a bootstrap is one matrix product.

Axes: N examples, K numbers an example, L labels.
"""

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trifold.errors import ConfigError, MissingExtraError, UsageError
from trifold.evaluation.entity import Scheme, entities

__all__ = [
    "Tally",
    "accuracy",
    "area_under_curve",
    "average_precision",
    "bleu",
    "chrf",
    "confusion",
    "entities",
    "entity_f1",
    "f1",
    "matthews",
    "mean",
    "multi_label_f1",
    "ndcg",
    "reciprocal_rank",
    "require_sacrebleu",
    "ter",
]

Numbers = NDArray[np.float64]
Value = Callable[[Any], Any]  # of arrays with any leading axes, or of one row


@dataclass(frozen=True, slots=True)
class Tally:
    """A metric over a data set.

    Attributes:
        rows: numbers of each example, N x K.
        value: the metric of summed numbers; takes any leading axes before K.
        signature: how it was computed, where a reference tool says so.

    Example:
        >>> Tally(np.array([[1.0], [0.0]]), lambda total: total[..., 0] / 2).score
        0.5
    """

    rows: Numbers
    value: Value
    signature: str = ""

    @property
    def score(self) -> float:
        """The metric of all examples."""
        return float(self.value(self.rows.sum(axis=0)))


def mean(values: Sequence[float]) -> Tally:
    """The mean of a number per example.

    Example:
        >>> mean([1.0, 0.0, 0.5]).score
        0.5
    """
    rows = np.stack([np.asarray(values, dtype=np.float64), np.ones(len(values))], axis=1)
    return Tally(rows, lambda total: _ratio(total[..., 0], total[..., 1]))


def accuracy(gold: NDArray, predicted: NDArray) -> Tally:
    """The share of examples that are right.

    Raises:
        UsageError: there are more of the one than of the other; so from every metric here.

    Example:
        >>> accuracy(np.array([0, 1, 1]), np.array([0, 1, 0])).score
        0.6666666666666666
    """
    _check_pairs(gold, predicted)
    return mean((np.asarray(gold) == np.asarray(predicted)).astype(np.float64).tolist())


def f1(gold: NDArray, predicted: NDArray, num_labels: int, *, average: str = "macro") -> Tally:
    """F1 of single labels: `macro` is the mean over the labels that occur, `micro` over the examples.

    Raises:
        ConfigError: a label outside 0 to `num_labels` - 1, or another average.

    Example:
        >>> f1(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), 2, average="micro").score
        0.75
    """
    return _f1_of(*_one_hot(gold, predicted, num_labels), average)


def multi_label_f1(gold: NDArray, predicted: NDArray, *, average: str) -> Tally:
    """F1 over a table of yes and no, N x L.

    Example:
        >>> multi_label_f1(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]]), average="micro").score
        0.8
    """
    return _f1_of(np.asarray(gold, dtype=np.float64), np.asarray(predicted, dtype=np.float64), average)


def _f1_of(gold: Numbers, said: Numbers, average: str) -> Tally:
    _check_pairs(gold, said)
    if average not in ("macro", "micro"):
        raise ConfigError("config.out_of_range", where="average", given=average, allowed="macro, micro")
    labels = gold.shape[1]
    rows = np.concatenate([gold * said, gold, said], axis=1)  # N 3L: right, gold, said

    def value(total: Any) -> Any:
        right, told, predictions = total[..., :labels], total[..., labels : 2 * labels], total[..., 2 * labels :]
        if average == "micro":
            return _ratio(2 * right.sum(-1), (told + predictions).sum(-1))
        occurs = (told + predictions) > 0
        return _ratio((_ratio(2 * right, told + predictions) * occurs).sum(-1), occurs.sum(-1).astype(np.float64))

    return Tally(rows, value)


def matthews(gold: NDArray, predicted: NDArray, num_labels: int) -> Tally:
    """Matthews' correlation for any number of labels (Gorodkin 2004); 0 where it is not defined.

    Raises:
        ConfigError: a label outside 0 to `num_labels` - 1.

    Example:
        >>> matthews(np.array([0, 1, 1, 0]), np.array([0, 1, 1, 0]), 2).score
        1.0
    """
    told, said = _one_hot(gold, predicted, num_labels)
    rows = np.concatenate([(told * said).sum(1, keepdims=True), told, said], axis=1)

    def value(total: Any) -> Any:
        right, golds, predictions = total[..., 0], total[..., 1 : 1 + num_labels], total[..., 1 + num_labels :]
        count = golds.sum(-1)
        covariance = right * count - (golds * predictions).sum(-1)
        spread = (count**2 - (predictions**2).sum(-1)) * (count**2 - (golds**2).sum(-1))
        return _ratio(covariance, np.sqrt(spread))

    return Tally(rows, value)


def _ratio(part: Any, whole: Any) -> Any:
    return np.divide(part, whole, out=np.zeros_like(np.asarray(part, dtype=np.float64)), where=np.asarray(whole) != 0)


def _check_pairs(gold: Any, predicted: Any) -> None:
    if len(gold) != len(predicted):
        raise UsageError("metric.unpaired", first=len(gold), second=len(predicted))


def _one_hot(gold: NDArray, predicted: NDArray, num_labels: int) -> tuple[Numbers, Numbers]:
    """Both as N L tables; labels are checked, for a negative one would count as one of the last."""
    _check_pairs(gold, predicted)
    labels = np.array([gold, predicted], dtype=np.int64)
    for given in labels[(labels < 0) | (labels >= num_labels)][:1]:
        raise ConfigError("config.out_of_range", where="label", given=given, allowed=f"0 to {num_labels - 1}")
    return np.eye(num_labels)[labels[0]], np.eye(num_labels)[labels[1]]


def confusion(gold: NDArray, predicted: NDArray, num_labels: int) -> NDArray[np.int64]:
    """How often each gold label (row) was called each label (column).

    Raises:
        ConfigError: a label outside 0 to `num_labels` - 1.

    Example:
        >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    told, said = _one_hot(gold, predicted, num_labels)
    return (told.T @ said).astype(np.int64)


def area_under_curve(gold: NDArray, score: NDArray) -> float:
    """Chance that a positive example scores above a negative one, ties counting half; NaN without both kinds.

    Example:
        >>> area_under_curve(np.array([0, 1, 1]), np.array([0.1, 0.1, 0.9]))
        0.75
    """
    _check_pairs(gold, score)
    gold, score = np.asarray(gold, dtype=bool), np.asarray(score, dtype=np.float64)
    positive, negative = int(gold.sum()), int((~gold).sum())
    if not positive * negative:
        return math.nan
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # ties share the mean of their ranks
    return float((ranks[gold].sum() - positive * (positive + 1) / 2) / (positive * negative))


def entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: Scheme | None = None) -> Tally:
    """F1 of whole entities, over all kinds together, as seqeval's micro average; by default without a scheme.

    Example:
        >>> entity_f1([["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]]).score
        0.0
    """
    rows = _entity_rows(gold, predicted, scheme)
    return Tally(
        rows,
        lambda total: _ratio(2 * total[..., 0], total[..., 1] + total[..., 2]),
        str(scheme) if scheme is not None else "",
    )


def _entity_rows(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: Scheme | None) -> Numbers:
    """Right, gold, said entities of each sentence, N 3."""
    _check_pairs(gold, predicted)
    pairs = [(entities(told, scheme), entities(said, scheme)) for told, said in zip(gold, predicted, strict=True)]
    return np.array([(len(told & said), len(told), len(said)) for told, said in pairs], np.float64).reshape(-1, 3)


def require_sacrebleu() -> None:
    """Make sure, before any work is done, that translations can be judged.

    Raises:
        MissingExtraError: sacrebleu is not installed.

    Example:
        >>> require_sacrebleu()
    """
    _sacrebleu("bleu")


def _sacrebleu(module: str) -> Any:
    try:
        return importlib.import_module(f"sacrebleu.metrics.{module}")
    except ImportError:
        raise MissingExtraError("metric.needs_extra", library="sacrebleu", extra="eval") from None


def bleu(predicted: Sequence[str], gold: Sequence[str], *, tokenize: str = "13a") -> Tally:
    """SacreBLEU's BLEU, 0 to 100 (Papineni et al. 2002; Post 2018).

    Args:
        predicted: translations.
        gold: one reference each.
        tokenize: `13a`, or `zh` for Chinese references.

    Raises:
        MissingExtraError: sacrebleu is not installed.

    Example:
        >>> round(bleu(["the cat sat on the mat"], ["the cat sat on the mat"]).score, 6)
        100.0
    """
    return _sentence_sums(_sacrebleu("bleu").BLEU(tokenize=tokenize), predicted, gold)


def chrf(predicted: Sequence[str], gold: Sequence[str]) -> Tally:
    """SacreBLEU's chrF2, 0 to 100 (Popović 2015).

    Raises:
        MissingExtraError: sacrebleu is not installed.

    Example:
        >>> round(chrf(["猫坐着"], ["猫坐着"]).score, 6)
        100.0
    """
    return _sentence_sums(_sacrebleu("chrf").CHRF(), predicted, gold)


def ter(predicted: Sequence[str], gold: Sequence[str], *, asian: bool = False) -> Tally:
    """SacreBLEU's translation edit rate in per cent: lower is better (Snover et al. 2006).

    Raises:
        MissingExtraError: sacrebleu is not installed.

    Example:
        >>> ter(["the cat sat"], ["the cat sat"]).score
        0.0
    """
    return _sentence_sums(_sacrebleu("ter").TER(normalized=asian, asian_support=asian), predicted, gold)


def _sentence_sums(metric: Any, predicted: Sequence[str], gold: Sequence[str]) -> Tally:
    """A tally over the tool's own statistics of sentences, scored by the tool itself."""
    _check_pairs(gold, predicted)
    if not predicted:
        raise UsageError("metric.no_examples")
    rows = np.array(metric._extract_corpus_statistics(list(predicted), [list(gold)]), dtype=np.float64)  # noqa: SLF001

    def value(total: Any) -> Any:
        sums = total.reshape(-1, total.shape[-1]).astype(np.int64).tolist()
        return np.array([metric._compute_score_from_stats(one).score for one in sums]).reshape(total.shape[:-1])  # noqa: SLF001

    return Tally(rows, value, str(metric.get_signature()))


def average_precision(relevant: Sequence[bool], total: int) -> float:
    """Mean of the precisions at the ranks of relevant documents, over all `total` that are relevant.

    Example:
        >>> average_precision([True, False, True], 2)
        0.8333333333333333
    """
    hits = np.flatnonzero(np.asarray(relevant, dtype=bool))
    return float(((np.arange(len(hits)) + 1) / (hits + 1)).sum() / total) if total else 0.0


def reciprocal_rank(relevant: Sequence[bool]) -> float:
    """One over the rank of the first relevant document; 0 where there is none.

    Example:
        >>> reciprocal_rank([False, True, True])
        0.5
    """
    return next((1 / rank for rank, one in enumerate(relevant, start=1) if one), 0.0)


def ndcg(gains: Sequence[float], ideal: Sequence[float], *, k: int, gain: str = "linear") -> float:
    """Discounted gain of the first `k` ranks over the best possible.

    Args:
        gains: grade of the document at each rank.
        ideal: grades of all documents that have one, in any order.
        k: how many ranks count.
        gain: of a grade g: `linear` is g, as in trec_eval; `exponential` is 2^g - 1 (Burges et al. 2005).

    Raises:
        ConfigError: another gain.

    Example:
        >>> ndcg([0.0, 1.0], [1.0], k=2)
        0.6309297535714575
    """
    if gain not in ("linear", "exponential"):
        raise ConfigError("config.out_of_range", where="gain", given=gain, allowed="linear, exponential")
    best = _discounted(sorted(ideal, reverse=True)[:k], gain)
    return float(_discounted(list(gains)[:k], gain) / best) if best else 0.0


def _discounted(grades: Sequence[float], gain: str) -> float:
    values = np.asarray(grades, dtype=np.float64) if gain == "linear" else np.exp2(grades) - 1
    return float((values / np.log2(np.arange(len(values)) + 2)).sum())
