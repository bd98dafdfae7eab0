"""Whether a model knows how sure it is: calibration, temperature, and when to stay silent.

Axes: N examples, L labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trifold.errors import ConfigError, UsageError

__all__ = ["Bin", "calibration_error", "choose_threshold", "fit_temperature", "reliability", "risk_coverage"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of like confidence.

    Attributes:
        confidence: their mean confidence.
        accuracy: the share that is right.
        count: how many there are.

    Example:
        >>> Bin(confidence=0.9, accuracy=0.8, count=10).count
        10
    """

    confidence: float
    accuracy: float
    count: int


def reliability(confidence: Numbers, correct: NDArray[np.bool_], *, bins: int = 15) -> list[Bin]:
    """Answers in bins of equal width by confidence; empty ones are left out.

    A bin holds its lower end, and the last one 1.

    Raises:
        ConfigError: no bins.
        UsageError: there are more of the one than of the other.

    Example:
        >>> reliability(np.array([0.9, 0.95]), np.array([True, False]), bins=2)
        [Bin(confidence=0.925, accuracy=0.5, count=2)]
    """
    if bins < 1:
        raise ConfigError("config.out_of_range", where="bins", given=bins, allowed="1 or more")
    _check_pairs(confidence, correct)
    place = np.clip((np.asarray(confidence) * bins).astype(np.int64), 0, bins - 1)
    filled = []
    for number in range(bins):
        here = place == number
        if here.any():
            filled.append(Bin(float(confidence[here].mean()), float(correct[here].mean()), int(here.sum())))
    return filled


def _check_pairs(one: NDArray, other: NDArray) -> None:
    if len(one) != len(other):
        raise UsageError("metric.unpaired", first=len(one), second=len(other))


def calibration_error(confidence: Numbers, correct: NDArray[np.bool_], *, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017): mean distance of confidence and accuracy over the bins.

    Raises:
        ConfigError: no bins.
        UsageError: there are more of the one than of the other.

    Example:
        >>> round(calibration_error(np.array([0.9, 0.9]), np.array([True, False])), 6)
        0.4
    """
    found = reliability(confidence, correct, bins=bins)
    total = sum(one.count for one in found)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in found) / max(total, 1)


def fit_temperature(logits: Numbers, gold: NDArray[np.int64]) -> float:
    """What logits are best divided by: the minimum of the negative log-likelihood (Guo et al. 2017).

    The likelihood is concave in 1 / temperature, so the place where its slope is zero is found by halving. At most 20
    and at least 0.05: what is always right has no best temperature.

    Args:
        logits: N x L.
        gold: label of each example, N.

    Raises:
        UsageError: no examples, or more of the one than of the other.

    Example:
        >>> sharp = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
        >>> round(fit_temperature(sharp, np.array([0, 0, 1, 1])), 4)  # three of four are right: 4 / ln 3
        3.641
    """
    _check_pairs(logits, gold)
    if not len(gold):
        raise UsageError("metric.no_examples")
    below = np.maximum(logits - logits.max(1, keepdims=True), -1e9)  # how far below the highest; finite for masked ones
    told = below[np.arange(len(gold)), gold].mean()
    low, high = np.log(0.05), np.log(20.0)  # of 1 / temperature
    for _ in range(50):
        middle = (low + high) / 2
        chances = np.exp(below * np.exp(middle))
        expected = ((chances * below).sum(1) / chances.sum(1)).mean()
        low, high = (middle, high) if expected < told else (low, middle)
    return float(np.exp(-(low + high) / 2))


def risk_coverage(confidence: Numbers, correct: NDArray[np.bool_]) -> tuple[list[tuple[float, float]], float]:
    """Share answered and share of those that is wrong, for every threshold that confidence has; and the area below.

    Answers of equal confidence stand or fall together: each of them enters the area with the risk of all of them.

    Raises:
        UsageError: there are more of the one than of the other.

    Example:
        >>> risk_coverage(np.array([0.9, 0.8, 0.1]), np.array([True, True, False]))[0]
        [(0.3333333333333333, 0.0), (0.6666666666666666, 0.0), (1.0, 0.3333333333333333)]
    """
    _check_pairs(confidence, correct)
    if not len(confidence):
        return [], float("nan")
    order = np.argsort(-np.asarray(confidence), kind="stable")
    sure, wrong = np.asarray(confidence)[order], np.cumsum(~np.asarray(correct, dtype=bool)[order])
    ends = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))  # the last of each confidence
    curve = [((end + 1) / len(sure), float(wrong[end] / (end + 1))) for end in ends.tolist()]
    weights = np.diff([0.0, *[covered for covered, _ in curve]])
    return curve, float(sum(weight * risk for weight, (_, risk) in zip(weights, curve, strict=True)))


def choose_threshold(confidence: Numbers, correct: NDArray[np.bool_], *, risk: float) -> float | None:
    """The lowest confidence from which on at most `risk` of the answers are wrong; None where there is none.

    Raises:
        UsageError: there are more of the one than of the other.

    Example:
        >>> choose_threshold(np.array([0.9, 0.8, 0.1]), np.array([True, True, False]), risk=0.1)
        0.8
    """
    curve, _ = risk_coverage(confidence, correct)
    levels = np.unique(np.asarray(confidence))[::-1]
    fitting = [float(level) for level, (_, wrong) in zip(levels, curve, strict=True) if wrong <= risk]
    return min(fitting) if fitting else None
