"""Which examples are trained on, which choose the weights and which judge: decided by what stands in them.

A row's side follows from a hash of what the model reads of it (or of its group), so that it does not change when rows are
added or shuffled, and rows that read the same are on the same side; so is a row that stands whole inside another.
Each label is held out about as often as all are, and stays in training.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trifold.data.rows import Row
from trifold.errors import DataError
from trifold.tasks.record import Columns, Placed, Role, value_of

__all__ = ["content_of", "group_of", "numbered", "split_units"]

SPREAD = 2.0
"""How many standard deviations the number held out of a label may be off before rows change sides."""
LEAST = 10
"""Held out at least, one of each label, where a fraction of the rows would be fewer."""


@dataclass(slots=True)
class Unit:
    """Rows that stay together.

    Attributes:
        place: from 0 to 1, by its key.
        rows: their numbers.
        labels: all that occur in them.
        side: the split it falls into.
    """

    place: float
    rows: list[int] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    side: str = "train"


def split_units(
    keys: Sequence[str | None], labels: Sequence[Sequence[str]], fractions: Mapping[str, float]
) -> list[str]:
    """The split of each row: `train`, or one of those that a fraction is held out for.

    Args:
        keys: what keeps rows together; rows without one are not held out.
        labels: those that occur in each row.
        fractions: how much to hold out for each other split, in order.

    Example:
        >>> keys = [f"row {n}" for n in range(200)]
        >>> sides = split_units(keys, [("yes",) if n % 10 else ("no",) for n in range(200)], {"dev": 0.1})
        >>> Counter(sides)["dev"] in range(10, 30), "dev" in sides[::10], "train" in sides[::10]
        (True, True, True)
    """
    units: dict[str, Unit] = {}
    for number, key in enumerate(keys):
        if key is not None:
            unit = units.setdefault(key, Unit(_place(key)))
            unit.rows.append(number)
            unit.labels.update(labels[number])
    strata = _strata(list(units.values()))
    for stratum in strata:
        _hold_out(stratum, fractions)
    for name in (name for name, fraction in fractions.items() if fraction):
        _fill(strata, name)
    _keep_labels(list(units.values()), {label for one in labels for label in one})
    sides = ["train"] * len(keys)
    for unit in units.values():
        for number in unit.rows:
            sides[number] = unit.side
    return sides


def _place(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:7]) / 256**7


def _strata(units: Sequence[Unit]) -> list[list[Unit]]:
    """Units by the rarest of their labels, each in the order of their places."""
    often = Counter(label for unit in units for label in unit.labels)
    strata: dict[str, list[Unit]] = {}
    for unit in sorted(units, key=lambda unit: unit.place):
        rarest = min(unit.labels, key=lambda label: (often[label], label), default="")
        strata.setdefault(rarest, []).append(unit)
    return [strata[name] for name in sorted(strata)]


def _hold_out(stratum: Sequence[Unit], fractions: Mapping[str, float]) -> None:
    """Hold out units of one label: those below a place, but not many more or fewer than the fraction says."""
    taken, edge = 0, 0.0
    for name, fraction in fractions.items():
        below = sum(edge <= unit.place < edge + fraction for unit in stratum)
        expected, edge = len(stratum) * fraction, edge + fraction
        spread = SPREAD * math.sqrt(expected)
        low = max(math.ceil(expected - spread), int(expected >= 1))
        count = min(max(below, low), math.floor(expected + spread), len(stratum) - 1 - taken)
        for unit in stratum[taken : taken + max(count, 0)]:
            unit.side = name
        taken += max(count, 0)


def _fill(strata: Sequence[list[Unit]], name: str) -> None:
    """Hold out a unit of each label, as far as few are held out in all and the label has another to train on."""
    held = sum(unit.side == name for stratum in strata for unit in stratum)
    for stratum in sorted(strata, key=len, reverse=True):
        training = [unit for unit in stratum if unit.side == "train"]
        if held < min(LEAST, len(strata)) and len(training) > 1 and all(unit.side != name for unit in stratum):
            training[0].side = name
            held += 1


def _keep_labels(units: Sequence[Unit], labels: set[str]) -> None:
    """Bring back a unit of each label that would not be trained on."""
    for label in sorted(labels - {label for unit in units if unit.side == "train" for label in unit.labels}):
        having = [unit for unit in units if label in unit.labels]
        if having and all(unit.side != "train" for unit in having):
            max(having, key=lambda unit: unit.place).side = "train"


def content_of(row: Row, columns: Columns, roles: Sequence[Role]) -> str | None:
    """What a model reads of a row, as one text that does not depend on the columns' names; None where that is nothing.

    Example:
        >>> role = Role("text", ("text",))
        >>> content_of(Row({"review": "so  good"}, ""), {"text": "review"}, [role])
        '["so good"]'
    """
    for label in (False, True):
        read = [role.name for role in roles if role.label == label and role.name in columns]
        values = [_even(value_of(row, columns[name])) for name in read]
        if any(value is not None for value in values):
            return json.dumps(values, ensure_ascii=False, default=str)
    return None


def _even(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


def numbered(keys: Sequence[str | None]) -> list[str | None]:
    """Keys that are equal told apart by how often each was there before.

    Example:
        >>> numbered(["a", None, "a"])
        ['a 0', None, 'a 1']
    """
    often: Counter[str] = Counter()
    distinct: list[str | None] = []
    for key in keys:
        distinct.append(None if key is None else f"{key} {often[key]}")
        often.update([] if key is None else [key])
    return distinct


def group_of(placed: Placed, group: str, known: Sequence[str], roles: Sequence[Role]) -> str | None:
    """What a row's group is called; a row without a group stands for itself.

    Raises:
        DataError: its file has no such column.
    """
    row, columns = placed
    if group not in known:
        raise DataError("task.no_group", origin=row.origin, given=group, known=", ".join(known)[:300])
    value = value_of(row, group)
    return content_of(row, columns, roles) if value is None else f"group {value}"
