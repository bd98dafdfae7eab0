"""How sure a number is: bootstrap intervals, paired comparisons, intervals over seeds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trifold.evaluation.metric import Tally

__all__ = ["Comparison", "Interval", "bootstrap", "mcnemar", "paired_bootstrap", "seed_interval"]

CHUNK = 2**22
"""Weights of resampled examples held at once."""
EXACT = 1000
"""Up to so many disagreements McNemar's test is exact."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the range that it may have had.

    Attributes:
        value: on the data at hand.
        low, high: ends of the interval.
        n: number of examples, or of seeds.

    Example:
        >>> Interval(0.5, 0.4, 0.6, 100).n
        100
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference, its interval, and the chance of one as large if there were none.

    Attributes:
        difference: first minus second.
        p: two-sided.
    """

    difference: Interval
    p: float


def _resamples(n: int, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each example was drawn, for `count` resamples, some at a time."""
    chance = np.random.default_rng(seed)
    size = max(1, CHUNK // max(n, 1))
    for start in range(0, count, size):
        rows = min(size, count - start)
        drawn = chance.integers(0, n, size=(rows, n))
        offset = np.arange(rows)[:, None] * n
        yield np.bincount((drawn + offset).ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def bootstrap(tally: Tally, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Percentile bootstrap over examples (Efron 1979).

    Args:
        tally: the metric.
        resamples: how many data sets to draw.
        level: how much of them the interval holds.
        seed: of the draws; the same seed draws the same examples for every metric.

    Example:
        >>> found = bootstrap(Tally(np.array([[1.0], [0.0]] * 50), lambda total: total[..., 0] / 100))
        >>> found.value, 0.38 < found.low < 0.45, 0.55 < found.high < 0.62
        (0.5, True, True)
    """
    n = len(tally.rows)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    values = np.concatenate([np.atleast_1d(tally.value(weights @ tally.rows))
                             for weights in _resamples(n, resamples, seed)])  # fmt: skip
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(tally.score, float(low), float(high), n)


def paired_bootstrap(
    one: Tally, other: Tally, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Comparison:
    """The difference of two systems on the same examples (Koehn 2004).

    The two-sided p is the chance of a difference at least as far from zero among resamples shifted to have none.

    Raises:
        ValueError: the two were measured on different numbers of examples.

    Example:
        >>> same = Tally(np.ones((10, 1)), lambda total: total[..., 0])
        >>> paired_bootstrap(same, same).p
        1.0
    """
    n = len(one.rows)
    if n != len(other.rows):
        raise ValueError(f"{n} and {len(other.rows)} examples cannot be paired")
    found = one.score - other.score
    values = np.concatenate([np.atleast_1d(one.value(weights @ one.rows) - other.value(weights @ other.rows))
                             for weights in _resamples(n, resamples, seed)])  # fmt: skip
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    extreme = int((np.abs(values - found) >= abs(found) - 1e-12).sum())
    return Comparison(Interval(found, float(low), float(high), n), (extreme + 1) / (resamples + 1))


def mcnemar(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[int, int, float]:
    """McNemar's test on right and wrong answers: how often only the first, only the second was right, and p.

    Exact (binomial, two-sided) up to 1,000 disagreements, else the chi-square approximation with continuity correction.

    Example:
        >>> mcnemar(np.array([True] * 9 + [False]), np.array([False] * 9 + [True]))
        (9, 1, 0.021484375)
    """
    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    total = first + second
    if total == 0:
        return first, second, 1.0
    if total <= EXACT:
        few = min(first, second)
        tail = sum(math.comb(total, k) for k in range(few + 1)) / 2**total
        return first, second, min(1.0, 2 * tail)
    statistic = max(abs(first - second) - 1, 0) ** 2 / total
    return first, second, math.erfc(math.sqrt(statistic / 2))


def seed_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Mean over seeds with Student's interval; the ends are infinite for one seed.

    Example:
        >>> found = seed_interval([1.0, 2.0, 3.0])
        >>> found.value, round(found.high, 3)
        (2.0, 4.484)
    """
    n, middle = len(values), float(np.mean(values))
    if n < 2:
        return Interval(middle, -math.inf, math.inf, n)
    half = _t_quantile((1 + level) / 2, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(middle, middle - half, middle + half, n)


def _t_quantile(p: float, degrees: int) -> float:
    """Student's quantile by bisection on its distribution function."""
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, degrees) < p else (low, middle)
    return (low + high) / 2


def _t_cdf(t: float, degrees: int) -> float:
    """Student's distribution function for t >= 0, by its finite series (Abramowitz and Stegun 26.7.3-4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    if odd:
        return 0.5 + (angle + sine * total) / math.pi
    return 0.5 + sine * total / 2
