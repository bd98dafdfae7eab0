"""Whether a model knows how sure it is: calibration, temperature, and when to stay silent.

Axes: N examples, L labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bin", "calibration_error", "choose_threshold", "fit_temperature", "reliability", "risk_coverage"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of like confidence.

    Attributes:
        confidence: their mean confidence.
        accuracy: the share that is right.
        count: how many there are.
    """

    confidence: float
    accuracy: float
    count: int


def reliability(confidence: Numbers, correct: NDArray[np.bool_], *, bins: int = 15) -> list[Bin]:
    """Answers in bins of equal width by confidence; empty ones are left out.

    Example:
        >>> reliability(np.array([0.9, 0.95]), np.array([True, False]), bins=2)
        [Bin(confidence=0.925, accuracy=0.5, count=2)]
    """
    place = np.clip((np.asarray(confidence) * bins).astype(np.int64), 0, bins - 1)
    found = []
    for number in range(bins):
        here = place == number
        if here.any():
            found.append(Bin(float(confidence[here].mean()), float(correct[here].mean()), int(here.sum())))
    return found


def calibration_error(confidence: Numbers, correct: NDArray[np.bool_], *, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017): mean distance of confidence and accuracy over the bins.

    Example:
        >>> round(calibration_error(np.array([0.9, 0.9]), np.array([True, False])), 6)
        0.4
    """
    found = reliability(confidence, correct, bins=bins)
    total = sum(one.count for one in found)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in found) / max(total, 1)


def fit_temperature(logits: Numbers, gold: NDArray[np.int64]) -> float:
    """What logits are best divided by: the minimum of the negative log-likelihood, found by golden sections (Guo 2017).

    Example:
        >>> sharp = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
        >>> 3.0 < fit_temperature(sharp, np.array([0, 0, 1, 1])) < 4.0
        True
    """

    def cost(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        highest = scaled.max(1, keepdims=True)
        total = np.log(np.exp(scaled - highest).sum(1)) + highest[:, 0]
        return float((total - scaled[np.arange(len(gold)), gold]).mean())

    low, high, share = np.log(0.05), np.log(20.0), (5**0.5 - 1) / 2
    for _ in range(60):
        left, right = high - share * (high - low), low + share * (high - low)
        low, high = (low, right) if cost(left) < cost(right) else (left, high)
    return float(np.exp((low + high) / 2))


def risk_coverage(confidence: Numbers, correct: NDArray[np.bool_]) -> tuple[list[tuple[float, float]], float]:
    """Share answered and share of those that is wrong, for every threshold that confidence has; and the area below.

    Example:
        >>> risk_coverage(np.array([0.9, 0.8, 0.1]), np.array([True, True, False]))[0]
        [(0.3333333333333333, 0.0), (0.6666666666666666, 0.0), (1.0, 0.3333333333333333)]
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    sure, wrong = np.asarray(confidence)[order], np.cumsum(~np.asarray(correct, dtype=bool)[order])
    ends = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))  # answers of equal confidence stand or fall together
    curve = [((end + 1) / len(sure), float(wrong[end] / (end + 1))) for end in ends.tolist()]
    weights = np.diff([0.0, *[covered for covered, _ in curve]])
    return curve, float(sum(weight * risk for weight, (_, risk) in zip(weights, curve, strict=True)))


def choose_threshold(confidence: Numbers, correct: NDArray[np.bool_], *, risk: float) -> float | None:
    """The lowest confidence from which on at most `risk` of the answers are wrong; None where there is none.

    Example:
        >>> choose_threshold(np.array([0.9, 0.8, 0.1]), np.array([True, True, False]), risk=0.1)
        0.8
    """
    curve, _ = risk_coverage(confidence, correct)
    levels = np.unique(np.asarray(confidence))[::-1]
    fitting = [float(level) for level, (_, wrong) in zip(levels, curve, strict=True) if wrong <= risk]
    return min(fitting) if fitting else None
