"""Metrics as functions of summed per-example numbers, so that a bootstrap is one matrix product.

Axes: N examples, K numbers an example, L labels.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trifold.errors import MissingExtraError

__all__ = [
    "Tally",
    "accuracy",
    "area_under_curve",
    "average_precision",
    "bleu",
    "chrf",
    "confusion",
    "entity_f1",
    "f1",
    "matthews",
    "mean",
    "multi_label_f1",
    "ndcg",
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

    Example:
        >>> accuracy(np.array([0, 1, 1]), np.array([0, 1, 0])).score
        0.6666666666666666
    """
    return mean((np.asarray(gold) == np.asarray(predicted)).astype(np.float64).tolist())


def f1(gold: NDArray, predicted: NDArray, num_labels: int, *, average: str = "macro") -> Tally:
    """F1 of single labels: `macro` is the mean over the labels that occur, `micro` over the examples.

    Example:
        >>> f1(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), 2, average="micro").score
        0.75
    """
    said, told = (np.eye(num_labels, dtype=np.float64)[np.asarray(part, dtype=np.int64)] for part in (predicted, gold))
    return _f1_of(told, said, average)


def multi_label_f1(gold: NDArray, predicted: NDArray, *, average: str) -> Tally:
    """F1 over a table of yes and no, N x L.

    Example:
        >>> multi_label_f1(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]]), average="micro").score
        0.8
    """
    return _f1_of(np.asarray(gold, dtype=np.float64), np.asarray(predicted, dtype=np.float64), average)


def _f1_of(gold: Numbers, said: Numbers, average: str) -> Tally:
    labels = gold.shape[1]
    rows = np.concatenate([gold * said, gold, said], axis=1)  # N 3L: right, gold, said

    def value(total: Any) -> Any:
        right, told, given = total[..., :labels], total[..., labels : 2 * labels], total[..., 2 * labels :]
        if average == "micro":
            return _ratio(2 * right.sum(-1), (told + given).sum(-1))
        occurs = (told + given) > 0
        return _ratio((_ratio(2 * right, told + given) * occurs).sum(-1), occurs.sum(-1).astype(np.float64))

    return Tally(rows, value)


def matthews(gold: NDArray, predicted: NDArray, num_labels: int) -> Tally:
    """Matthews' correlation for any number of labels (Gorodkin 2004); 0 where it is not defined.

    Example:
        >>> matthews(np.array([0, 1, 1, 0]), np.array([0, 1, 1, 0]), 2).score
        1.0
    """
    eye = np.eye(num_labels, dtype=np.float64)
    told, said = eye[np.asarray(gold, dtype=np.int64)], eye[np.asarray(predicted, dtype=np.int64)]
    rows = np.concatenate([(told * said).sum(1, keepdims=True), told, said], axis=1)

    def value(total: Any) -> Any:
        right, golds, given = total[..., 0], total[..., 1 : 1 + num_labels], total[..., 1 + num_labels :]
        count = golds.sum(-1)
        covariance = right * count - (golds * given).sum(-1)
        spread = (count**2 - (given**2).sum(-1)) * (count**2 - (golds**2).sum(-1))
        return _ratio(covariance, np.sqrt(spread))

    return Tally(rows, value)


def _ratio(part: Any, whole: Any) -> Any:
    return np.divide(part, whole, out=np.zeros_like(np.asarray(part, dtype=np.float64)), where=np.asarray(whole) != 0)


def confusion(gold: NDArray, predicted: NDArray, num_labels: int) -> NDArray[np.int64]:
    """How often each gold label (row) was called each label (column).

    Example:
        >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    table = np.zeros((num_labels, num_labels), dtype=np.int64)
    np.add.at(table, (np.asarray(gold), np.asarray(predicted)), 1)
    return table


def area_under_curve(gold: NDArray, score: NDArray) -> float:
    """Chance that a positive example scores above a negative one, ties counting half; NaN without both kinds.

    Example:
        >>> area_under_curve(np.array([0, 1, 1]), np.array([0.1, 0.1, 0.9]))
        0.75
    """
    gold, score = np.asarray(gold, dtype=bool), np.asarray(score, dtype=np.float64)
    positive, negative = int(gold.sum()), int((~gold).sum())
    if not positive or not negative:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # ties share the mean of their ranks
    return float((ranks[gold].sum() - positive * (positive + 1) / 2) / (positive * negative))


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Kind, first and last word of each entity in BIO tags, read as seqeval reads them: a stray `I-` begins one too.

    Example:
        >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC"]))
        [('LOC', 3, 3), ('PER', 0, 1)]
    """
    found: set[tuple[str, int, int]] = set()
    kind, start = "", -1
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        goes_on = mark == "I" and start >= 0 and name == kind
        if not goes_on and start >= 0:
            found.add((kind, start, place - 1))
            start = -1
        if mark in ("B", "I") and not goes_on:
            kind, start = name, place
    return found


def entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Tally:
    """F1 of whole entities, over all kinds together, as seqeval's micro average.

    Example:
        >>> entity_f1([["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]]).score
        0.0
    """
    pairs = [(entities(told), entities(said)) for told, said in zip(gold, predicted, strict=True)]
    rows = np.array([[len(told & said), len(told), len(said)] for told, said in pairs], dtype=np.float64)
    return Tally(rows.reshape(-1, 3), lambda total: _ratio(2 * total[..., 0], total[..., 1] + total[..., 2]))


def _sacrebleu(module: str) -> Any:
    """One of the tool's modules."""
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
    metric = _sacrebleu("bleu").BLEU(tokenize=tokenize)
    return _sentence_sums(metric, predicted, gold, lambda total: metric._compute_score_from_stats(total.tolist()))  # noqa: SLF001


def chrf(predicted: Sequence[str], gold: Sequence[str]) -> Tally:
    """SacreBLEU's chrF2, 0 to 100 (Popović 2015).

    Raises:
        MissingExtraError: sacrebleu is not installed.

    Example:
        >>> round(chrf(["猫坐着"], ["猫坐着"]).score, 6)
        100.0
    """
    metric = _sacrebleu("chrf").CHRF()
    return _sentence_sums(metric, predicted, gold, lambda total: metric._compute_f_score(total.tolist()))  # noqa: SLF001


def ter(predicted: Sequence[str], gold: Sequence[str], *, asian: bool = False) -> Tally:
    """SacreBLEU's translation edit rate in per cent: lower is better (Snover et al. 2006).

    Raises:
        MissingExtraError: sacrebleu is not installed.

    Example:
        >>> ter(["the cat sat"], ["the cat sat"]).score
        0.0
    """
    metric = _sacrebleu("ter").TER(normalized=asian, asian_support=asian)
    return _sentence_sums(metric, predicted, gold, lambda total: metric._compute_score_from_stats(total.tolist()))  # noqa: SLF001


def _sentence_sums(
    metric: Any, predicted: Sequence[str], gold: Sequence[str], score: Callable[[NDArray[np.int64]], Any]
) -> Tally:
    """A tally over the tool's own statistics of sentences, scored by the tool itself."""
    rows = np.array(metric._extract_corpus_statistics(list(predicted), [list(gold)]), dtype=np.float64)  # noqa: SLF001

    def value(total: Any) -> Any:
        flat = total.reshape(-1, total.shape[-1])
        found = [score(one.astype(np.int64)) for one in flat]
        return np.array([getattr(one, "score", one) for one in found]).reshape(total.shape[:-1])

    metric.corpus_score(list(predicted), [list(gold)])  # fills in the number of references, for the signature
    return Tally(rows, value, str(metric.get_signature()))


def average_precision(relevant: Sequence[bool], total: int) -> float:
    """Mean of the precisions at the ranks of relevant documents, over all `total` that are relevant.

    Example:
        >>> average_precision([True, False, True], 2)
        0.8333333333333333
    """
    hits = np.flatnonzero(np.asarray(relevant, dtype=bool))
    return float(((np.arange(len(hits)) + 1) / (hits + 1)).sum() / total) if total else 0.0


def ndcg(gains: Sequence[float], ideal: Sequence[float], *, k: int) -> float:
    """Discounted gain of the first `k` ranks over the best possible (linear gains, as trec_eval).

    Args:
        gains: gain of the document at each rank.
        ideal: gains of all documents that have one, in any order.
        k: how many ranks count.

    Example:
        >>> ndcg([0.0, 1.0], [1.0], k=2)
        0.6309297535714575
    """
    best = _discounted(sorted(ideal, reverse=True)[:k])
    return float(_discounted(list(gains)[:k]) / best) if best else 0.0


def _discounted(gains: Sequence[float]) -> float:
    return float((np.asarray(gains, dtype=np.float64) / np.log2(np.arange(len(gains)) + 2)).sum())
