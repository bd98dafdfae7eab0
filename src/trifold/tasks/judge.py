"""An honest judgement: metrics with intervals beside baselines, calibration, contamination, and the worst errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trifold.errors import DataError
from trifold.evaluation.contamination import find_overlap
from trifold.evaluation.metric import Tally
from trifold.evaluation.statistics import Interval, bootstrap, mcnemar, paired_bootstrap
from trifold.tasks.choice import lower_is_better
from trifold.tasks.judgement import surest_errors
from trifold.tasks.record import Record
from trifold.tasks.task import Prediction, Task

__all__ = ["compare", "judge"]


def judge(
    task: Task,
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    train: Sequence[Record] = (),
    others: Mapping[str, Sequence[Prediction]] | None = None,
) -> dict[str, Any]:
    """Everything worth saying about predictions, as JSON data.

    Args:
        task: what was asked.
        records: with gold answers.
        predictions: one a record.
        train: training records, for the baselines and for the search for test texts among them; may be empty.
        others: further predictions to show beside, by name.

    Raises:
        DataError: there are no records, or some lack their gold answer.
    """
    if not records or any(record.gold is None for record in records):
        raise DataError("task.no_gold", given=sum(record.gold is None for record in records), count=len(records))
    measured = task.measure(records, predictions)
    judgement: dict[str, Any] = {"task": task.config.kind, "n": len(records), "metrics": _intervals(measured)}
    judgement["signatures"] = {name: tally.signature for name, tally in measured.items() if tally.signature}
    beside = {name: task.measure(records, list(said)) for name, said in _beside(task, train, records, others).items()}
    judgement["baselines"] = {name: _intervals(tallies) for name, tallies in beside.items()}
    if beside:
        judgement["verdict"] = _verdict(measured, beside)
    if train:
        judgement["contamination"] = _contamination(task, train, records, predictions)
    more = task.judge(records, predictions)
    worst = more.pop("worst") if "worst" in more else surest_errors(records, predictions)
    return {**judgement, **more, "worst": worst}


def _beside(
    task: Task,
    train: Sequence[Record],
    records: Sequence[Record],
    others: Mapping[str, Sequence[Prediction]] | None,
) -> dict[str, Sequence[Prediction]]:
    baselines = task.baselines(train, records) if train else {}
    return {**(others or {}), **baselines}


def _verdict(measured: Mapping[str, Tally], beside: Mapping[str, Mapping[str, Tally]]) -> dict[str, Any]:
    """The first metric beside that of the best baseline: how much better, and whether that may be chance."""
    metric, tally = next(iter(measured.items()))
    sign = -1 if lower_is_better(metric) else 1
    best = max(beside, key=lambda name: _order(sign * beside[name][metric].score))
    comparison = paired_bootstrap(tally, beside[best][metric], resamples=200 if metric in ("bleu", "chrf") else 2000)
    low, high = sorted((sign * comparison.difference.low, sign * comparison.difference.high))
    told = "better" if low > 0 else "worse" if high < 0 else "even"
    return {"metric": metric, "baseline": best, "told": told, "difference": _shown(comparison.difference)}


def _order(score: float) -> float:
    """A score to compare with others; what is none is below all."""
    return score if math.isfinite(score) else -math.inf


def _intervals(measured: Mapping[str, Tally]) -> dict[str, dict[str, float]]:
    return {
        name: _shown(bootstrap(tally, resamples=1000 if "chrf" not in name and "bleu" not in name else 200))
        for name, tally in measured.items()
    }


def _shown(interval: Interval) -> dict[str, float]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(interval).items()}


def _contamination(
    task: Task, train: Sequence[Record], records: Sequence[Record], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """How many judged inputs stand in the training data, and the first metric without them."""
    overlap = find_overlap(
        (" ".join(record.inputs) for record in train), [" ".join(record.inputs) for record in records]
    )
    known = set(overlap.near)
    kept = [number for number in range(len(records)) if number not in known]
    contamination: dict[str, Any] = {"exact": len(overlap.exact), "near": len(overlap.near)}
    if known and kept:
        clean = task.measure([records[n] for n in kept], [predictions[n] for n in kept])
        name, tally = next(iter(clean.items()))
        contamination["without"] = {name: _shown(bootstrap(tally))}
    return contamination


def compare(
    task: Task, records: Sequence[Record], predictions: Sequence[Prediction], other: Sequence[Prediction]
) -> dict[str, Any]:
    """Two systems on the same examples: paired bootstrap of every metric, and McNemar's test of right and wrong."""
    first, second = task.measure(records, predictions), task.measure(records, other)
    comparison: dict[str, Any] = {"n": len(records), "differences": {}}
    for name, tally in first.items():
        paired = paired_bootstrap(tally, second[name], resamples=200 if name in ("bleu", "chrf") else 2000)
        comparison["differences"][name] = {
            "first": tally.score,
            "second": second[name].score,
            **_shown(paired.difference),
            "p": round(paired.p, 6),
        }
    if "accuracy" in first or "exact_match" in first:
        name = "accuracy" if "accuracy" in first else "exact_match"
        only_first, only_second, p = mcnemar(first[name].rows[:, 0] > 0, second[name].rows[:, 0] > 0)
        comparison["mcnemar"] = {"only_first_right": only_first, "only_second_right": only_second, "p": p}
    return comparison
