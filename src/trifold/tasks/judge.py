"""An honest judgement: metrics with intervals beside baselines, calibration, contamination, and the worst errors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from trifold.errors import DataError
from trifold.evaluation.calibration import calibration_error, fit_temperature, reliability, risk_coverage
from trifold.evaluation.contamination import find_overlap
from trifold.evaluation.metric import Tally, area_under_curve, confusion
from trifold.evaluation.statistics import Interval, bootstrap, mcnemar, paired_bootstrap
from trifold.tasks.baseline import baseline_predictions
from trifold.tasks.classification import ClassificationTask
from trifold.tasks.record import Record
from trifold.tasks.regression import RegressionTask
from trifold.tasks.span_qa import SpanQATask
from trifold.tasks.task import Prediction, Task

__all__ = ["compare", "judge"]

SHOWN = 10


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
    found: dict[str, Any] = {"task": task.config.kind, "n": len(records), "metrics": _intervals(measured)}
    found["signatures"] = {name: tally.signature for name, tally in measured.items() if tally.signature}
    found["baselines"] = {name: _intervals(task.measure(records, list(said)))
                          for name, said in _beside(task, train, records, others).items()}  # fmt: skip
    if train:
        found["contamination"] = _contamination(task, train, records, predictions)
    if isinstance(task, ClassificationTask):
        found |= _about_labels(task, records, predictions)
    if isinstance(task, SpanQATask):
        found["risk_coverage"] = _risk(task, records, predictions)
    found["worst"] = (_furthest if isinstance(task, RegressionTask) else _worst)(records, predictions)
    return found


def _beside(
    task: Task,
    train: Sequence[Record],
    records: Sequence[Record],
    others: Mapping[str, Sequence[Prediction]] | None,
) -> dict[str, Sequence[Prediction]]:
    baselines = baseline_predictions(task, train, records) if train else {}
    return {**(others or {}), **baselines}


def _intervals(measured: Mapping[str, Tally]) -> dict[str, dict[str, float]]:
    return {name: _shown(bootstrap(tally, resamples=1000 if "chrf" not in name and "bleu" not in name else 200))
            for name, tally in measured.items()}  # fmt: skip


def _shown(interval: Interval) -> dict[str, float]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(interval).items()}


def _contamination(
    task: Task, train: Sequence[Record], records: Sequence[Record], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """How many judged inputs stand in the training data, and the first metric without them."""
    overlap = find_overlap((" ".join(one.inputs) for one in train), [" ".join(one.inputs) for one in records])
    known = set(overlap.near)
    kept = [number for number in range(len(records)) if number not in known]
    found: dict[str, Any] = {"exact": len(overlap.exact), "near": len(overlap.near)}
    if known and kept:
        clean = task.measure([records[n] for n in kept], [predictions[n] for n in kept])
        name, tally = next(iter(clean.items()))
        found["without"] = {name: _shown(bootstrap(tally))}
    return found


def _about_labels(
    task: ClassificationTask, records: Sequence[Record], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    if task.config.multi_label:
        return {"labels": list(task.config.labels)}
    gold = np.array([task.number[record.gold] for record in records])
    logits = np.array([one.logits for one in predictions])
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    said, sure = chances.argmax(1), chances.max(1)
    right = said == gold
    curve, area = risk_coverage(sure, right)
    found = {
        "labels": list(task.config.labels),
        "confusion": confusion(gold, said, len(task.config.labels)).tolist(),
        "calibration": {
            "expected_calibration_error": round(calibration_error(sure, right), 6),
            "temperature": round(fit_temperature(logits, gold), 4),
            "bins": [asdict(one) for one in reliability(sure, right)],
        },
        "risk_coverage": {"area": round(area, 6), "curve": _thin(curve)},
    }
    if len(task.config.labels) == 2:
        found["area_under_curve"] = round(area_under_curve(gold == 1, chances[:, 1]), 6)
    return found


def _risk(task: SpanQATask, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Risk and coverage where an answer counts as right when it matches exactly."""
    exact = task.measure(records, predictions)["exact_match"].rows[:, 0] > 0
    curve, area = risk_coverage(np.array([one.details["margin"] for one in predictions]), exact)
    return {"area": round(area, 6), "curve": _thin(curve)}


def _thin(curve: list[tuple[float, float]], most: int = 100) -> list[list[float]]:
    step = max(1, len(curve) // most)
    return [[round(covered, 4), round(risk, 4)] for covered, risk in curve[::step]]


def _worst(records: Sequence[Record], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The wrong answers of which the model was surest."""
    wrong = [number for number, (record, one) in enumerate(zip(records, predictions, strict=True))
             if one.confidence is not None and not _right(record, one)]  # fmt: skip
    wrong.sort(key=lambda number: -(predictions[number].confidence or 0.0))
    return [{**_described(records[n], predictions[n]), "confidence": round(predictions[n].confidence or 0.0, 4)}
            for n in wrong[:SHOWN]]  # fmt: skip


def _furthest(records: Sequence[Record], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The scores that are furthest off."""
    off = [abs(record.gold - one.answer) for record, one in zip(records, predictions, strict=True)]
    order = sorted(range(len(off)), key=lambda number: -off[number])
    return [{**_described(records[n], predictions[n]), "distance": round(off[n], 4)} for n in order[:SHOWN]]


def _described(record: Record, one: Prediction) -> dict[str, Any]:
    answer = round(one.answer, 4) if isinstance(one.answer, float) else _plain(one.answer)
    return {"inputs": [text[:300] for text in record.inputs][:40], "gold": _plain(record.gold), "answer": answer,
            "origin": record.origin}  # fmt: skip


def _right(record: Record, one: Prediction) -> bool:
    gold = record.gold
    if isinstance(one.answer, str) and isinstance(gold, tuple) and all(isinstance(part, tuple) for part in gold):
        return one.answer in [text for text, _ in gold] or (not gold and not one.answer)
    if isinstance(gold, tuple):
        return list(gold) == list(one.answer)
    return gold == one.answer


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def compare(
    task: Task, records: Sequence[Record], one: Sequence[Prediction], other: Sequence[Prediction]
) -> dict[str, Any]:
    """Two systems on the same examples: paired bootstrap of every metric, and McNemar's test of right and wrong."""
    first, second = task.measure(records, one), task.measure(records, other)
    found: dict[str, Any] = {"n": len(records), "differences": {}}
    for name, tally in first.items():
        paired = paired_bootstrap(tally, second[name], resamples=200 if name in ("bleu", "chrf") else 2000)
        found["differences"][name] = {"first": tally.score, "second": second[name].score,
                                      **_shown(paired.difference), "p": round(paired.p, 6)}  # fmt: skip
    if "accuracy" in first or "exact_match" in first:
        name = "accuracy" if "accuracy" in first else "exact_match"
        only_first, only_second, p = mcnemar(first[name].rows[:, 0] > 0, second[name].rows[:, 0] > 0)
        found["mcnemar"] = {"only_first_right": only_first, "only_second_right": only_second, "p": p}
    return found
