"""How well scores agree with those of people: correlations and distances, as functions of summed numbers."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from trifold.errors import UsageError
from trifold.evaluation.metric import Tally, mean

__all__ = ["mean_absolute_error", "pearson", "ranks", "spearman"]

Numbers = NDArray[np.float64]


def pearson(gold: NDArray, said: NDArray) -> Tally:
    """Pearson's correlation; 0 where one side does not vary.

    Raises:
        UsageError: there are more of the one than of the other; so from every metric here.

    Example:
        >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0])).score, 4)
        0.982
    """
    _check_pairs(gold, said)
    x, y = _standard(gold), _standard(said)
    rows = np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)

    def value(total: Numbers) -> Numbers:
        count, sum_x, sum_y, square_x, square_y, product = np.moveaxis(total, -1, 0)
        spread_x, spread_y = count * square_x - sum_x**2, count * square_y - sum_y**2
        least = 1e-12 * count**2  # what rounding leaves of no spread at all
        varies = (spread_x > least) & (spread_y > least)
        spread = np.sqrt(np.where(varies, spread_x * spread_y, 1.0))
        return np.where(varies, np.clip((count * product - sum_x * sum_y) / spread, -1, 1), 0.0)

    return Tally(rows, value)


def spearman(gold: NDArray, said: NDArray) -> Tally:
    """Spearman's correlation: Pearson's of the ranks, which are those among all examples in each resample too.

    Example:
        >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([2.0, 40.0, 500.0])).score, 6)
        1.0
    """
    return pearson(ranks(gold), ranks(said))


def mean_absolute_error(gold: NDArray, said: NDArray) -> Tally:
    """How far a score is from the right one, on average.

    Example:
        >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([1.5, 2.0])).score
        0.25
    """
    _check_pairs(gold, said)
    return mean(np.abs(np.asarray(gold, np.float64) - np.asarray(said, np.float64)).tolist())


def ranks(values: NDArray) -> Float[np.ndarray, " n"]:
    """The rank of each value from 1; equal ones share the mean of theirs.

    Example:
        >>> ranks(np.array([0.5, 0.1, 0.5])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _standard(values: NDArray) -> Numbers:
    """Values with mean 0 and deviation 1, so that sums of squares lose no digits; zeros where they do not vary."""
    exact = np.asarray(values, dtype=np.float64)
    if not len(exact):
        return exact
    deviation = exact.std()
    varies = deviation > 1e-12 * np.abs(exact).max()
    return (exact - exact.mean()) / deviation if varies else np.zeros_like(exact)


def _check_pairs(gold: NDArray, said: NDArray) -> None:
    if len(gold) != len(said):
        raise UsageError("metric.unpaired", first=len(gold), second=len(said))
