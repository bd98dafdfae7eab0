"""The examples of an experiment: read from its files, their columns found, parted, and made into records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trifold.data.permutation import mix, permute
from trifold.data.reading import ReadReport, SourceOptions
from trifold.data.rows import read_rows
from trifold.errors import DataError
from trifold.tasks.account import Account, Count
from trifold.tasks.containment import containers
from trifold.tasks.experiment import FineTuning
from trifold.tasks.record import Placed, Record, check_roles, file_of, make_records, place_rows, value_of
from trifold.tasks.split import content_of, group_of, numbered, split_units
from trifold.tasks.task import Task

__all__ = ["Examples", "Splits", "read_examples", "sample_of"]


@dataclass(frozen=True, slots=True)
class Splits:
    """Records to train on, to choose by and to judge on.

    Example:
        >>> Splits([Record(("good",), "yes")], [], []).judged
        []
    """

    train: list[Record]
    dev: list[Record]
    test: list[Record]

    @property
    def judged(self) -> list[Record]:
        """The records that the result is judged on: the dev set where there is no test."""
        return self.test or self.dev


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows of an experiment with their columns, by split, and what became of them.

    Attributes:
        experiment: whose files they stand in.
        rows: by split.
        account: is filled in as records are made.
    """

    experiment: FineTuning
    rows: Mapping[str, list[Placed]]
    account: Account

    def records(self, task: Task) -> Splits:
        """The records of each split; rows that cannot be used are counted.

        Raises:
            DataError: a row is damaged and that is not forgiven, or a split has nothing left.
        """
        records = {}
        for name, placed in self.rows.items():
            count = self.account.splits[name] = Count()
            records[name] = make_records(placed, task.record, on_error=self.experiment.data.on_error, count=count)
            if placed and not records[name]:
                raise DataError("task.nothing_left", split=name, count=count.rows, reasons=count.reasons)
        splits = Splits(records["train"], records.get("dev", []), records.get("test", []))
        if not splits.train:
            raise DataError("task.no_rows")
        if not splits.judged:
            raise DataError("task.too_few", count=len(splits.train))
        return splits


def read_examples(experiment: FineTuning) -> Examples:
    """The rows of each file; where there is no dev or test file, a part of the training rows, the same every time.

    Raises:
        ConfigError: a column is named for a role that the task does not have.
        DataError: a file has no rows, a column is missing or ambiguous, or nothing is left to judge on.
    """
    data, roles, account = experiment.data, experiment.task.roles, Account()
    check_roles(roles, data.columns)
    options = SourceOptions(on_error=data.on_error, encoding=data.encoding, tagged=experiment.task.tagged)
    placed = {}
    for name, files in data.files.items():
        report = account.reports[name] = ReadReport()
        rows = [row for file in files for row in read_rows(file, options, report)]
        if not rows:
            raise DataError("task.no_rows_in", path=", ".join(files))
        placed[name] = place_rows(rows, roles, data.columns, account=account)
    fractions = {
        name: fraction
        for name, fraction in (("test", data.test_fraction), ("dev", data.dev_fraction))
        if name not in placed
    }
    every = placed["train"]
    row_labels = experiment.task.labels_in(every)
    keys, labels = _keys(experiment, every, row_labels), [names or () for names in row_labels]
    sides = split_units(keys, labels, fractions)
    if fractions and set(sides) == {"train"}:  # too few texts differ: the same text may then be on both sides
        sides = split_units(numbered(keys), labels, fractions)
    placed = {name: placed.get(name, []) for name in ("train", "dev", "test")}
    placed["train"] = [row for row, side in zip(every, sides, strict=True) if side == "train"]
    for name in fractions:
        placed[name] = [row for row, side in zip(every, sides, strict=True) if side == name]
    if not placed["dev"] and not placed["test"]:
        raise DataError("task.too_few", count=len(every))
    return Examples(experiment, {name: rows for name, rows in placed.items() if rows}, account)


def sample_of(records: Sequence[Record], count: int) -> list[Record]:
    """So many of the records, in the order of a shuffle that is always the same; all as they stand where there are no more.

    Files are often sorted by their labels, whose first rows say little of the others.

    Args:
        records: of a split.
        count: how many; 0 for all.

    Example:
        >>> len({record.gold for record in sample_of([Record("a", "no")] * 50 + [Record("b", "yes")] * 50, 10)})
        2
    """
    total = len(records)
    if not count or count >= total:
        return list(records)
    return [records[permute(place, total, mix(total, 5))] for place in range(count)]


def _keys(
    experiment: FineTuning, placed: Sequence[Placed], labels: Sequence[tuple[str, ...] | None]
) -> list[str | None]:
    """What keeps each row together with others; None for rows without the label or the text that a split is for."""
    group, roles = experiment.data.group, experiment.task.roles
    headers: dict[str, dict[str, None]] = {}
    for row, _ in placed:
        headers.setdefault(file_of(row), {}).update(dict.fromkeys(row.values))
    unlabelled, keys = experiment.task.may_lack_label, list[str | None]()
    for (row, columns), said in zip(placed, labels, strict=True):
        needed = [
            columns[role.name]
            for role in roles
            if role.needed and role.name in columns and not (role.label and unlabelled)
        ]
        if said is None or any(value_of(row, column) is None for column in needed):
            keys.append(None)
        elif group is None:
            keys.append(content_of(row, columns, roles))
        else:
            keys.append(group_of((row, columns), group, tuple(headers[file_of(row)]), roles))
    return keys if group is not None else _beside_containers(keys)


def _beside_containers(contents: Sequence[str | None]) -> list[str | None]:
    """What rows hold, each that stands whole inside another in the place of that other."""
    texts = [content or "" for content in contents]
    return [None if own is None else texts[number] for own, number in zip(contents, containers(texts), strict=True)]
