"""The verdict of a judgement: better, worse or no different from the best of the baselines, with the difference."""

import numpy as np
import pytest

from trifold.evaluation.metric import accuracy
from trifold.evaluation.score import mean_absolute_error
from trifold.tasks.judge import _verdict

GOLD = np.arange(200) % 4


def right(count: int) -> np.ndarray:
    """Answers of which so many are right."""
    return np.where(np.arange(200) < count, GOLD, (GOLD + 1) % 4)


@pytest.mark.parametrize(("ours", "told"), [(180, "better"), (121, "even"), (60, "worse")])
def test_accuracy_is_set_beside_the_best_baseline(ours, told):
    beside = {"majority": {"accuracy": accuracy(GOLD, right(50))}, "words": {"accuracy": accuracy(GOLD, right(120))}}
    verdict = _verdict({"accuracy": accuracy(GOLD, right(ours))}, beside)
    assert (verdict["baseline"], verdict["told"], verdict["metric"]) == ("words", told, "accuracy")
    assert verdict["difference"]["value"] == pytest.approx((ours - 120) / 200)
    assert verdict["difference"]["low"] <= verdict["difference"]["value"] <= verdict["difference"]["high"]


@pytest.mark.parametrize(("away", "told"), [(0.1, "better"), (3.0, "worse")])
def test_of_a_distance_less_is_better(away, told):
    gold = GOLD.astype(float)
    beside = {"mean": {"mean_absolute_error": mean_absolute_error(gold, np.full(200, gold.mean()))},
              "far": {"mean_absolute_error": mean_absolute_error(gold, gold + 9)}}  # fmt: skip
    verdict = _verdict({"mean_absolute_error": mean_absolute_error(gold, gold + away)}, beside)
    assert (verdict["baseline"], verdict["told"]) == ("mean", told)


def test_a_baseline_without_a_score_is_below_all():
    nothing = accuracy(GOLD[:0], GOLD[:0])
    verdict = _verdict({"accuracy": accuracy(GOLD, right(150))},
                       {"a": {"accuracy": accuracy(GOLD, right(100))}, "b": {"accuracy": nothing}})  # fmt: skip
    assert verdict["baseline"] == "a"
