"""Confidence that means what it says, and silence where it does not reach."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trifold.errors import ConfigError, UsageError
from trifold.evaluation.calibration import (
    calibration_error,
    choose_threshold,
    fit_temperature,
    reliability,
    risk_coverage,
)


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


@pytest.mark.parametrize("seed", range(3))
def test_the_temperature_is_where_scipy_finds_it(seed):
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    dice = np.random.default_rng(seed)
    logits, gold = 4 * dice.normal(size=(200, 5)), dice.integers(0, 5, 200)
    gold[:80] = logits[:80].argmax(1)

    def cost(temperature):
        return -log_softmax(logits / temperature, axis=1)[np.arange(200), gold].mean()

    wanted = minimize_scalar(cost, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x
    assert fit_temperature(logits, gold) == pytest.approx(wanted, rel=1e-5)
    masked = np.concatenate([logits, np.full((200, 1), -np.inf)], axis=1)  # a label that is ruled out changes nothing
    assert fit_temperature(masked, gold) == pytest.approx(wanted, rel=1e-5)


def test_the_temperature_stays_within_its_bounds():
    logits = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(0.05)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(20.0)


def test_calibration_error_by_hand():
    sure, right = np.array([0.1, 0.15, 0.65, 0.7, 1.0]), np.array([False, True, True, False, True])
    found = reliability(sure, right, bins=5)
    assert [one.count for one in found] == [2, 2, 1]
    assert calibration_error(sure, right, bins=5) == pytest.approx((2 * 0.375 + 2 * 0.175 + 0.0) / 5)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0.0


def brute(sure, right, risk):
    fitting = [level for level in sorted(set(sure.tolist())) if 1 - right[sure >= level].mean() <= risk]
    return fitting[0] if fitting else None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25), st.sampled_from([0.0, 0.2, 0.5]))
def test_the_threshold_is_the_lowest_that_keeps_the_risk(pairs, risk):
    sure, right = np.array([one / 6 for one, _ in pairs]), np.array([one for _, one in pairs])
    assert choose_threshold(sure, right, risk=risk) == brute(sure, right, risk)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 2**31))
def test_the_area_is_the_mean_risk_where_nothing_ties(answers, seed):
    dice = np.random.default_rng(seed)
    right, sure = np.array(answers), dice.permutation(len(answers)).astype(float)
    order = np.argsort(-sure)
    wanted = (np.cumsum(~right[order]) / np.arange(1, len(answers) + 1)).mean()
    curve, area = risk_coverage(sure, right)
    assert area == pytest.approx(wanted) and len(curve) == len(answers)


def test_no_answers_and_nonsense():
    none, nothing = np.zeros(0), np.zeros(0, bool)
    curve, area = risk_coverage(none, nothing)
    assert curve == [] and np.isnan(area)
    assert choose_threshold(none, nothing, risk=0.1) is None
    assert reliability(none, nothing) == [] and calibration_error(none, nothing) == 0.0
    with pytest.raises(ConfigError, match="bins"):
        reliability(np.ones(1), np.ones(1, bool), bins=0)
    with pytest.raises(UsageError, match="paired"):
        risk_coverage(np.ones(2), np.ones(1, bool))
    with pytest.raises(UsageError, match="at least one"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, np.int64))
