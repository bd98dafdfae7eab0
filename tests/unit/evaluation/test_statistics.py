"""Intervals cover what they promise; tests of differences have the size they claim."""

import numpy as np
import pytest

from trifold.evaluation.calibration import (
    calibration_error,
    choose_threshold,
    fit_temperature,
    reliability,
    risk_coverage,
)
from trifold.evaluation.contamination import find_overlap
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
    with pytest.raises(ValueError, match="paired"):
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


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 31])
def test_seeds_have_students_interval(count):
    from scipy.stats import t

    values = np.random.default_rng(count).normal(size=count).tolist()
    found = seed_interval(values)
    low, high = t.interval(0.95, count - 1, loc=np.mean(values), scale=np.std(values, ddof=1) / np.sqrt(count))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
    assert seed_interval([1.0]).high == np.inf


def test_calibration_of_a_model_that_is_too_sure():
    dice = np.random.default_rng(4)
    gold = dice.integers(0, 3, 4000)
    honest = dice.normal(size=(4000, 3))
    honest[np.arange(4000), gold] += 1.0  # two normals apart by 1: the logits are the true log odds
    assert fit_temperature(honest, gold) == pytest.approx(1.0, abs=0.08)
    assert fit_temperature(3 * honest, gold) == pytest.approx(3.0, abs=0.25)
    chances = np.exp(3 * honest) / np.exp(3 * honest).sum(1, keepdims=True)
    sure, right = chances.max(1), chances.argmax(1) == gold
    assert calibration_error(sure, right) > 0.2
    assert sum(one.count for one in reliability(sure, right)) == 4000


def test_silence_below_a_threshold_keeps_the_promised_risk():
    dice = np.random.default_rng(5)
    sure = dice.random(2000)
    right = dice.random(2000) < sure
    level = choose_threshold(sure, right, risk=0.1)
    assert level is not None and 1 - right[sure >= level].mean() <= 0.1
    curve, area = risk_coverage(sure, right)
    assert curve[-1] == (1.0, pytest.approx(1 - right.mean())) and 0.2 < area < 0.3
    assert choose_threshold(np.array([0.9]), np.array([False]), risk=0.1) is None
    tied, _ = risk_coverage(np.array([0.5, 0.5]), np.array([True, False]))
    assert tied == [(1.0, 0.5)]


def test_planted_copies_are_found_and_strangers_are_not():
    dice = np.random.default_rng(6)
    words = [f"w{number}" for number in range(2000)]
    train = [" ".join(dice.choice(words, 30)) for _ in range(300)]
    fresh = [" ".join(dice.choice(words, 30)) for _ in range(50)]
    near = [" ".join([*text.split()[:24], "quite", "another", "end"]) for text in train[:20]]
    found = find_overlap(train, [*fresh, *(text.upper() + "!" for text in train[20:30]), *near])
    assert found.exact == tuple(range(50, 60))
    assert found.near == tuple(range(50, 80))
    assert find_overlap(["研究生命的起源，是生物学的重要问题。"], ["研究生命的起源是生物学的重要问题"]).exact == (0,)
    assert find_overlap(["好"], ["", "坏"]).near == ()
