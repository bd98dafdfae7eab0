"""Intervals cover what they promise; tests of differences have the size they claim."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trifold.errors import ConfigError, UsageError
from trifold.evaluation import statistics
from trifold.evaluation.metric import accuracy, f1, mean
from trifold.evaluation.statistics import bootstrap, mcnemar, paired_bootstrap, seed_interval


def test_the_interval_of_an_accuracy_covers_the_truth_about_as_often_as_it_says():
    dice, covered = np.random.default_rng(0), 0
    for _ in range(200):
        found = bootstrap(mean((dice.random(150) < 0.8).astype(float).tolist()), resamples=400)
        covered += found.low <= 0.8 <= found.high
    assert 0.90 <= covered / 200 <= 0.98


def test_a_bootstrap_is_that_of_the_resampled_examples():
    dice = np.random.default_rng(1)
    gold, said = dice.integers(0, 3, 40), dice.integers(0, 3, 40)
    tally = f1(gold, said, 3)
    chosen = dice.integers(0, 40, 40)
    weights = np.bincount(chosen, minlength=40).astype(float)
    assert tally.value(weights @ tally.rows) == pytest.approx(f1(gold[chosen], said[chosen], 3).score, abs=1e-12)


def test_equal_systems_do_not_differ_and_unequal_ones_do():
    dice = np.random.default_rng(2)
    gold = np.zeros(500, dtype=int)
    good, bad = (np.where(dice.random(500) < share, 0, 1) for share in (0.9, 0.7))
    assert paired_bootstrap(accuracy(gold, good), accuracy(gold, bad)).p < 0.01
    assert paired_bootstrap(accuracy(gold, good), accuracy(gold, good)).p == 1.0
    with pytest.raises(UsageError, match="paired"):
        paired_bootstrap(accuracy(gold, good), accuracy(gold[:9], good[:9]))


def test_p_values_of_equal_systems_are_not_small_too_often():
    dice, small = np.random.default_rng(3), 0
    for _ in range(150):
        one, other = (mean((dice.random(100) < 0.7).astype(float).tolist()) for _ in range(2))
        small += paired_bootstrap(one, other, resamples=300).p < 0.05
    assert small / 150 < 0.11


@pytest.mark.parametrize(("first", "second"), [(9, 1), (3, 3), (40, 20), (0, 0), (700, 600)])
def test_mcnemar_as_the_exact_binomial_test(first, second):
    from scipy.stats import binomtest

    one = np.array([True] * first + [False] * second + [True] * 5)
    other = np.array([False] * first + [True] * second + [True] * 5)
    b, c, p = mcnemar(one, other)
    assert (b, c) == (first, second)
    wanted = binomtest(min(b, c), b + c).pvalue if b + c else 1.0
    assert p == pytest.approx(wanted, rel=0.05 if b + c > 1000 else 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.501, 0.99995), st.integers(1, 60))
def test_students_quantile_as_scipy(chance, degrees):
    from scipy.stats import t

    assert statistics._t_quantile(chance, degrees) == pytest.approx(float(t.ppf(chance, degrees)), rel=1e-7)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 31])
def test_seeds_have_students_interval(count):
    from scipy.stats import t

    values = np.random.default_rng(count).normal(size=count).tolist()
    found = seed_interval(values)
    low, high = t.interval(0.95, count - 1, loc=np.mean(values), scale=np.std(values, ddof=1) / np.sqrt(count))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
    assert seed_interval([1.0]).high == np.inf


def test_many_examples_are_drawn_in_blocks_and_no_other_memory(monkeypatch):
    tally = mean((np.random.default_rng(6).random(5000) < 0.3).astype(float).tolist())
    whole = bootstrap(tally, resamples=1000)
    monkeypatch.setattr(statistics, "CHUNK", 700)  # five thousand examples no longer fit
    blocks = bootstrap(tally, resamples=1000)
    assert blocks.value == whole.value
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=0.003)
    assert bootstrap(tally, resamples=50) == bootstrap(tally, resamples=50)


@pytest.mark.parametrize("chunk", [1, 33, 50, 1000])
def test_every_resample_draws_as_many_examples_as_there_are(monkeypatch, chunk):
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    sums = statistics._sums(np.stack([np.ones(50), np.arange(50.0)], axis=1), 200, 0)
    assert sums.shape == (200, 2) and (sums[:, 0] == 50).all()
    assert sums[:, 1].std() == pytest.approx(50**0.5 * np.arange(50).std(), rel=0.2)  # sampling with replacement


def test_a_bootstrap_holds_less_than_64_megabytes():
    tally = mean(np.random.default_rng(7).random(20_000).tolist())
    tracemalloc.start()
    bootstrap(tally, resamples=300)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 * 2**20


def test_a_tenth_of_a_point_needs_more_than_a_few_examples():
    dice = np.random.default_rng(8)
    few, many = (bootstrap(mean(dice.random(size).tolist())) for size in (50, 5000))
    assert few.high - few.low == pytest.approx(10 * (many.high - many.low), rel=0.3)
    assert bootstrap(mean([])).n == 0 and np.isnan(bootstrap(mean([])).low)
    assert paired_bootstrap(mean([]), mean([])).p == 1.0


def test_nonsense_is_refused():
    tally = mean([1.0, 0.0])
    for options in ({"level": 1.0}, {"level": 0.0}, {"resamples": 0}):
        with pytest.raises(ConfigError, match="allowed"):
            bootstrap(tally, **options)
        with pytest.raises(ConfigError, match="allowed"):
            paired_bootstrap(tally, tally, **options)
    with pytest.raises(ConfigError, match="level"):
        seed_interval([1.0, 2.0], level=2.0)
    with pytest.raises(UsageError, match="at least one"):
        seed_interval([])
    with pytest.raises(UsageError, match="paired"):
        mcnemar(np.array([True]), np.array([True, False]))
