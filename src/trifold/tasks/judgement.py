"""Parts of a judgement beside metrics: which labels are confused, whether confidence can be trusted, the worst errors."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trifold.evaluation.calibration import calibration_error, fit_temperature, reliability, risk_coverage
from trifold.evaluation.metric import area_under_curve, confusion
from trifold.tasks.record import Record
from trifold.tasks.task import Prediction

__all__ = ["about_labels", "furthest", "risk_at_coverage", "surest_errors"]

SHOWN = 10


def about_labels(labels: Sequence[str], gold: NDArray[Any], logits: NDArray[Any]) -> dict[str, Any]:
    """What scores of a few labels tell: confusion, calibration, risk and coverage, and the area under the curve of two.

    Args:
        labels: in the order of the scores.
        gold: number of the right label of each record.
        logits: scores of all labels, [records, labels].

    Example:
        >>> report = about_labels(("no", "yes"), np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> report["confusion"], report["area_under_curve"]
        ([[1, 0], [0, 1]], 1.0)
    """
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    said, sure = chances.argmax(1), chances.max(1)
    right = said == gold
    report = {
        "labels": list(labels),
        "confusion": confusion(gold, said, len(labels)).tolist(),
        "calibration": {
            "expected_calibration_error": round(calibration_error(sure, right), 6),
            "temperature": round(fit_temperature(logits, gold), 4),
            "bins": [asdict(one) for one in reliability(sure, right)],
        },
        "risk_coverage": risk_at_coverage(sure, right),
    }
    if len(labels) == 2:
        report["area_under_curve"] = round(area_under_curve(gold == 1, chances[:, 1]), 6)
    return report


def risk_at_coverage(sure: NDArray[Any], right: NDArray[Any], *, most: int = 100) -> dict[str, Any]:
    """The share of wrong answers for every share of records answered, the surest first; at most about `most` points.

    Example:
        >>> risk_at_coverage(np.array([0.9, 0.6]), np.array([True, False]))["curve"]
        [[0.5, 0.0], [1.0, 0.5]]
    """
    curve, area = risk_coverage(sure, right)
    step = max(1, len(curve) // most)
    return {"area": round(area, 6), "curve": [[round(covered, 4), round(risk, 4)] for covered, risk in curve[::step]]}


def surest_errors(records: Sequence[Record], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The wrong answers of which the model was surest.

    Example:
        >>> surest_errors([Record("bad", "no")], [Prediction("yes", 0.75)])[0]["confidence"]
        0.75
    """
    wrong = [
        number
        for number, (record, one) in enumerate(zip(records, predictions, strict=True))
        if one.confidence is not None and not _right(record, one)
    ]
    wrong.sort(key=lambda number: -(predictions[number].confidence or 0.0))
    return [
        {**_described(records[n], predictions[n]), "confidence": round(predictions[n].confidence or 0.0, 4)}
        for n in wrong[:SHOWN]
    ]


def furthest(records: Sequence[Record], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The scores that are furthest off.

    Example:
        >>> furthest([Record("good", 4.0), Record("bad", 1.0)], [Prediction(4.5), Prediction(3.0)])[0]["distance"]
        2.0
    """
    off = [abs(record.gold - one.answer) for record, one in zip(records, predictions, strict=True)]
    order = sorted(range(len(off)), key=lambda number: -off[number])
    return [{**_described(records[n], predictions[n]), "distance": round(off[n], 4)} for n in order[:SHOWN]]


def _described(record: Record, one: Prediction) -> dict[str, Any]:
    answer = round(one.answer, 4) if isinstance(one.answer, float) else _plain(one.answer)
    return {
        "inputs": [text[:300] for text in record.inputs][:40],
        "gold": _plain(record.gold),
        "answer": answer,
        "origin": record.origin,
    }


def _right(record: Record, prediction: Prediction) -> bool:
    gold = record.gold
    if isinstance(prediction.answer, str) and isinstance(gold, tuple) and all(isinstance(part, tuple) for part in gold):
        return prediction.answer in [text for text, _ in gold] or (not gold and not prediction.answer)
    if isinstance(gold, tuple):
        return list(gold) == list(prediction.answer)
    return gold == prediction.answer


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
