"""Rows for a model that is ready for use: its roles are read from the columns that it was trained with."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trifold.config import require
from trifold.data.rows import Row
from trifold.errors import UsageError
from trifold.locale import message
from trifold.tasks.account import Account
from trifold.tasks.record import Placed, Record, check_roles, choose_column, file_of, place_rows
from trifold.tasks.task import Task
from trifold.training.description import read_description

__all__ = ["Input", "labelled_records", "listed", "place_as_trained", "place_inputs", "records_of", "trained_columns"]

Input = str | Sequence[str] | Mapping[str, Any] | Record
"""What a task reads: a text, the texts of a pair, a row with named columns, or a record."""


def listed(inputs: Iterable[Any], name: str) -> list[Any]:
    """What a caller gave as a list, from any iterable.

    Raises:
        UsageError: it is one text, or nothing that has elements in an order of its own.

    Example:
        >>> listed(("good", "bad"), "inputs")
        ['good', 'bad']
    """
    if isinstance(inputs, str):
        raise UsageError("task.one_text", name=name, given=inputs[:60])
    fits = isinstance(inputs, Iterable) and not isinstance(inputs, bytes | Mapping)
    require(fits, where=name, given=type(inputs).__name__, allowed="a list, or another iterable")
    return list(inputs)


def trained_columns(folder: Path) -> dict[str, list[str]]:
    """The columns that a run was trained with, by role: as they were asked for, then as they were found."""
    known = read_description(folder) if (folder / "trifold.json").is_file() else {}
    asked = known.get("experiment", {}).get("data", {}).get("columns", {})
    read = [asked, *(file["columns"] for file in known.get("account", {}).get("files", {}).values())]
    by_role: dict[str, list[str]] = {}
    for columns in read:
        for role, column in columns.items():
            by_role.setdefault(role, []).append(column)
    return by_role


def place_as_trained(
    task: Task,
    trained: Mapping[str, Sequence[str]],
    rows: Sequence[Row],
    columns: Mapping[str, str],
    *,
    labelled: bool = True,
    account: Account | None = None,
) -> list[Placed]:
    """Rows with the columns of their files: those that were named, else those of training, else those with usual names.

    Lines of plain text play the first role.

    Args:
        task: what the model does.
        trained: what `trained_columns` gives for its run.
        rows: of one file or several.
        columns: by role, where the user said.
        labelled: whether each must have its label.
        account: is told the columns of each file.

    Raises:
        DataError: a column is missing.
    """
    check_roles(task.roles, columns)
    roles = [role for role in task.roles if labelled or not role.label]
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(file_of(row), []).append(row)
    placed: dict[int, Placed] = {}
    for file_rows in files.values():
        header = {name for row in file_rows for name in row.values}
        fitting = {
            role: next(filter(None, (choose_column(column, header) for column in some if column)), None)
            for role, some in trained.items()
        }
        role_columns = {role: column for role, column in fitting.items() if column is not None} | dict(columns)
        if header == {"text"} and not labelled and not columns:
            role_columns = {roles[0].name: "text"}
        for pair in place_rows(file_rows, roles, role_columns, labelled=labelled, account=account):
            placed[id(pair[0])] = pair
    return [placed[id(row)] for row in rows]


def place_inputs(task: Task, trained: Mapping[str, Sequence[str]], inputs: Sequence[Input]) -> list[Placed]:
    """Texts, pairs and rows from a program as rows with columns; a warning names the columns that are not read.

    Records, which are read already, are left out.

    Raises:
        UsageError: there are more texts than the task reads.
        DataError: a row lacks a column.
    """
    for number, entry in enumerate(inputs, 1):
        if isinstance(entry, bytes) or not isinstance(entry, Iterable | Record):
            raise UsageError("task.no_input", number=number, given=repr(entry)[:60])
    account = Account()
    placed = iter(place_as_trained(task, trained, _rows(inputs), {}, labelled=False, account=account))
    unread = [name for names in account.unread.values() for name in names]
    if unread:
        warnings.warn(message("task.inputs_unread", columns=", ".join(unread)[:300]), stacklevel=5)
    return [
        next(placed)
        if isinstance(entry, Mapping)
        else task.place([entry] if isinstance(entry, str) else list(entry), f"input:{number}")
        for number, entry in enumerate(inputs, 1)
        if not isinstance(entry, Record)
    ]


def records_of(
    task: Task, trained: Mapping[str, Sequence[str]], inputs: Sequence[Input], labels: Sequence[Any] | None
) -> list[Record]:
    """What a task reads of each input; with labels, what it should say too.

    Raises:
        UsageError: an input has more texts than the task reads, or there are not as many labels as inputs.
        DataError: a row lacks a column.
    """
    inputs, labels = listed(inputs, "inputs"), None if labels is None else listed(labels, "labels")
    if labels is not None and len(inputs) != len(labels):
        raise UsageError("task.labels_for_inputs", inputs=len(inputs), labels=len(labels))
    placed = iter(place_inputs(task, trained, inputs))
    if labels is None:
        return [entry if isinstance(entry, Record) else task.question(*next(placed)) for entry in inputs]
    answer = next(role.name for role in task.roles if role.label)
    records = []
    for entry, label in zip(inputs, labels, strict=True):
        if isinstance(entry, Record):
            records.append(replace(entry, gold=label))
            continue
        row, columns = next(placed)
        records.append(task.record(Row({**row.values, answer: label}, row.origin), {**columns, answer: answer}))
    return records


def _rows(inputs: Sequence[Input]) -> list[Row]:
    return [Row(dict(one), f"input:{number}") for number, one in enumerate(inputs, 1) if isinstance(one, Mapping)]


def labelled_records(task: Task, trained: Mapping[str, Sequence[str]], inputs: Sequence[Input]) -> list[Record]:
    """Records of rows that hold their labels; records that have gold answers stay as they are.

    Raises:
        UsageError: an input is a text without a label.
        DataError: a row lacks a column, or its label is none of the model's.
    """
    for number, entry in enumerate(inputs, 1):
        if not isinstance(entry, Mapping | Record):
            raise UsageError("task.text_without_label", number=number, given=str(entry)[:60])
    placed = iter(place_as_trained(task, trained, _rows(inputs), {}))
    return [entry if isinstance(entry, Record) else task.record(*next(placed)) for entry in inputs]
