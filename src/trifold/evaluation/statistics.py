"""How sure a number is: bootstrap intervals, paired comparisons, intervals over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trifold.errors import ConfigError, UsageError
from trifold.evaluation.metric import Tally

__all__ = ["Comparison", "Interval", "bootstrap", "mcnemar", "paired_bootstrap", "seed_interval"]

CHUNK = 2**20
"""Weights of resampled examples held at once: about 32 MB with all that it takes to make them."""
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

    Example:
        >>> Comparison(Interval(0.1, 0.02, 0.18, 500), p=0.01).difference.low
        0.02
    """

    difference: Interval
    p: float


def _sums(rows: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    """Summed rows of `count` resamples, count x K; flat in memory however many examples there are."""
    n = len(rows)
    chance = np.random.default_rng(seed)
    if n > CHUNK:
        return np.stack([_sum_of_one(rows, chance) for _ in range(count)])
    size = CHUNK // n
    sums = []
    for start in range(0, count, size):
        few = min(size, count - start)
        drawn = chance.integers(0, n, size=(few, n))
        drawn += np.arange(few)[:, None] * n  # one range of numbers for each resample
        weights = np.bincount(drawn.ravel(), minlength=few * n).reshape(few, n)
        sums.append(weights.astype(np.float64) @ rows)
    return np.concatenate(sums)


def _sum_of_one(rows: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.float64]:
    """Summed rows of one resample, block by block: how many fall into each block is multinomial."""
    starts = np.arange(0, len(rows), CHUNK)
    sizes = np.minimum(CHUNK, len(rows) - starts)
    total = np.zeros(rows.shape[1])
    for start, size, count in zip(starts, sizes, chance.multinomial(len(rows), sizes / len(rows)), strict=True):
        weights = np.bincount(chance.integers(0, size, size=count), minlength=size)
        total += weights.astype(np.float64) @ rows[start : start + size]
    return total


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise ConfigError("config.out_of_range", where="resamples", given=resamples, allowed="1 or more")
    if not 0 < level < 1:
        raise ConfigError("config.out_of_range", where="level", given=level, allowed="above 0, below 1")


def bootstrap(tally: Tally, *, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> Interval:
    """Percentile bootstrap over examples (Efron 1979).

    Args:
        tally: the metric.
        resamples: how many data sets to draw.
        level: how much of them the interval holds.
        seed: of the draws; the same seed draws the same examples for every metric.

    Raises:
        ConfigError: no resamples, or a level outside 0 to 1.

    Example:
        >>> found = bootstrap(Tally(np.array([[1.0], [0.0]] * 50), lambda total: total[..., 0] / 100))
        >>> found.value, 0.38 < found.low < 0.45, 0.55 < found.high < 0.62
        (0.5, True, True)
    """
    _check(resamples, level)
    n = len(tally.rows)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    values = tally.value(_sums(tally.rows, resamples, seed))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(tally.score, float(low), float(high), n)


def paired_bootstrap(
    first: Tally, second: Tally, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Comparison:
    """The difference of two systems on the same examples (Koehn 2004).

    The two-sided p is the chance of a difference at least as far from zero among resamples shifted to have none.

    Raises:
        UsageError: the two were measured on different numbers of examples.
        ConfigError: no resamples, or a level outside 0 to 1.

    Example:
        >>> same = Tally(np.ones((10, 1)), lambda total: total[..., 0])
        >>> paired_bootstrap(same, same).p
        1.0
    """
    _check(resamples, level)
    n = len(first.rows)
    if n != len(second.rows):
        raise UsageError("metric.unpaired", first=n, second=len(second.rows))
    if n == 0:
        return Comparison(Interval(math.nan, math.nan, math.nan, 0), 1.0)
    difference = first.score - second.score
    drawn = [tally.value(_sums(tally.rows, resamples, seed)) for tally in (first, second)]  # same draws
    values = drawn[0] - drawn[1]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    extreme = int((np.abs(values - difference) >= abs(difference) - 1e-12).sum())
    return Comparison(Interval(difference, float(low), float(high), n), (extreme + 1) / (resamples + 1))


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> tuple[int, int, float]:
    """McNemar's test on right and wrong answers: how often only the first, only the second was right, and p.

    Exact (binomial, two-sided) up to 1,000 disagreements, else the chi-square approximation with continuity correction.

    Raises:
        UsageError: the two answered different numbers of examples.

    Example:
        >>> mcnemar(np.array([True] * 9 + [False]), np.array([False] * 9 + [True]))
        (9, 1, 0.021484375)
    """
    if len(first_right) != len(second_right):
        raise UsageError("metric.unpaired", first=len(first_right), second=len(second_right))
    only_first, only_second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    total = only_first + only_second
    if total == 0:
        return only_first, only_second, 1.0
    if total <= EXACT:
        few = min(only_first, only_second)
        tail = sum(math.comb(total, k) for k in range(few + 1)) / 2**total
        return only_first, only_second, min(1.0, 2 * tail)
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / total
    return only_first, only_second, math.erfc(math.sqrt(statistic / 2))


def seed_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Mean over seeds with Student's interval; the ends are infinite for one seed.

    Raises:
        UsageError: there are no values.
        ConfigError: a level outside 0 to 1.

    Example:
        >>> found = seed_interval([1.0, 2.0, 3.0])
        >>> found.value, round(found.high, 3)
        (2.0, 4.484)
    """
    _check(1, level)
    if not values:
        raise UsageError("metric.no_examples")
    n, middle = len(values), float(np.mean(values))
    if n < 2:
        return Interval(middle, -math.inf, math.inf, n)
    half = _t_quantile((1 + level) / 2, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(middle, middle - half, middle + half, n)


def _t_quantile(p: float, degrees: int) -> float:
    """Student's quantile by bisection on its distribution function."""
    low, high = 0.0, 1.0
    while _t_cdf(high, degrees) < p:
        high *= 2
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
