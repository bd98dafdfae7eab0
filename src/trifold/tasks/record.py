"""Labelled examples: which column of a file plays which part, and what stands in it."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from trifold.data.column_name import plain_name, usual_names
from trifold.data.rows import Row
from trifold.errors import ConfigError, DataError, MissingValueError
from trifold.tasks.account import Account, Count
from trifold.tasks.label import refuse_marks

__all__ = [
    "Columns",
    "Placed",
    "Record",
    "Role",
    "check_roles",
    "choose_column",
    "columns_in",
    "file_of",
    "find_columns",
    "is_missing",
    "make_records",
    "optional_text",
    "place_rows",
    "text_of",
    "value_of",
]

PLAIN = {"id", "idx", "index", "uuid", "guid", "key", "number", "date", "time", "timestamp", "url", "link", "source",
         "origin", "lang", "language", "license", "split", "type", "category", "topic", "author", "user",
         "version"}  # fmt: skip
"""Columns that no prompt stands in."""


@dataclass(frozen=True, slots=True, init=False)
class Record:
    """One example of a task.

    Attributes:
        inputs: the texts that the model reads; a single text stands for itself alone.
        gold: what it should say; None where nobody knows.
        origin: file and line, for messages.
        text: what the inputs were cut from, where they are parts of one text.

    Example:
        >>> Record("a good film", "positive").inputs
        ('a good film',)
    """

    inputs: tuple[str, ...]
    gold: Any = None
    origin: str = ""
    text: str = ""

    def __init__(self, inputs: str | Sequence[str], gold: Any = None, origin: str = "", text: str = "") -> None:
        texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        for name, value in (("inputs", texts), ("gold", gold), ("origin", origin), ("text", text)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Role:
    """A part that a column can play.

    Attributes:
        name: of the part.
        names: what such a column is usually called, the most telling first; case does not count.
        needed: whether a file without one is refused.
        label: whether it holds what should be said, which is not needed at inference.
        beside: pairs of columns that play the role before this one and this one where both are there.
        either: names of which, where a file has as many as are open, the first plays the role before this one, the next
            one this one.
        parts: usual names of which each is only a part of what is meant, such as title and content.
        alone: of a role that is not needed: usual names of columns that mean that there is nothing else to read; without
            one that is read, a file whose further texts nobody reads is refused.
        together: whether all columns with a usual name play it, as `a+b`.

    Example:
        >>> Role("text", ("text", "sentence")).needed
        True
    """

    name: str
    names: tuple[str, ...]
    needed: bool = True
    label: bool = False
    beside: tuple[tuple[str, str], ...] = ()
    either: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()
    alone: tuple[str, ...] | None = None
    together: bool = False


Columns = Mapping[str, str]
"""The column of each role that was found."""
Placed = tuple[Row, Columns]
"""A row with the columns of its file."""


def is_missing(value: Any) -> bool:
    """Whether a value says nothing: null, not a number, or a blank text.

    Example:
        >>> [is_missing(value) for value in (None, float("nan"), " ", 0, "no", [])]
        [True, True, True, False, False, False]
    """
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def value_of(row: Row, column: str) -> Any:
    """What stands in a column, None for nothing: of `a|b` in the first that has something, of `a+b` the texts of both.

    Example:
        >>> row = Row({"title": "Rain", "body": None, "content": "It pours."}, "a.jsonl:1")
        >>> value_of(row, "body|content"), value_of(row, "title+content"), value_of(row, "body")
        ('It pours.', 'Rain It pours.', None)
    """
    if column not in row.values and "|" in column:
        return next((value for part in column.split("|") if (value := value_of(row, part)) is not None), None)
    if column not in row.values and "+" in column:
        return " ".join(filter(None, (optional_text(row, part) for part in column.split("+")))) or None
    value = row.values.get(column)
    return None if is_missing(value) else value


def text_of(row: Row, column: str) -> str:
    """The text in a column; numbers are written out.

    Raises:
        MissingValueError: there is none.
        DataError: it is no text.
    """
    value = value_of(row, column)
    if value is None:
        blank = any(isinstance(row.values.get(part), str) for part in columns_in(column, row.values))
        raise MissingValueError("task.empty_value" if blank else "task.missing_value", origin=row.origin, name=column)
    if not isinstance(value, str | bool | int | float):
        raise DataError("task.bad_value", origin=row.origin, name=column, given=type(value).__name__)
    return str(value)


def optional_text(row: Row, column: str | None) -> str:
    """The text in a column that may be left empty, or that no file needs to have.

    Example:
        >>> optional_text(Row({"input": None}, "a.jsonl:1"), "input")
        ''
    """
    return "" if column is None or value_of(row, column) is None else text_of(row, column)


def columns_in(column: str, header: Collection[str]) -> list[str]:
    """The columns that a name such as `a|b+c` speaks of.

    Example:
        >>> columns_in("title+body", ["title", "body"]), columns_in("a+b", ["a+b"])
        (['title', 'body'], ['a+b'])
    """
    return [column] if column in header else [part for one in column.split("|") for part in one.split("+")]


def choose_column(wanted: str, header: Collection[str]) -> str | None:
    """A column as the user named it, or of `a|b+c` the choices whose columns are all there; None where none is.

    Example:
        >>> choose_column("text|title+body", ["title", "body"])
        'title+body'
    """
    if wanted in header:
        return wanted
    there = [one for one in wanted.split("|") if one in header or all(part in header for part in one.split("+"))]
    return "|".join(there) or None


def check_roles(roles: Sequence[Role], columns: Mapping[str, str]) -> None:
    """Refuse columns that are named for a role which the task does not have.

    Raises:
        ConfigError: there is such a role; says which there are.
    """
    known = [role.name for role in roles]
    for name in columns:
        if name not in known:
            raise ConfigError("config.unknown_key", where="data.columns", given=name, allowed=", ".join(known), hint="")


def find_columns(
    roles: Sequence[Role],
    header: Sequence[str],
    requested: Mapping[str, str],
    origin: str,
    *,
    labelled: bool = True,
    rows: Sequence[Row] = (),
) -> dict[str, str]:
    """The column for each role: the one that was given, else the one with a usual name.

    Args:
        roles: the parts.
        header: names of the columns.
        requested: columns by role, where the user said; an empty name for none.
        origin: the file, for messages.
        labelled: whether roles that hold labels are needed.
        rows: of the file: columns that are empty in all of them count as missing, and those that are never filled at the
            same time may play the same role.

    Raises:
        DataError: a column is missing that is needed, or it is not clear which is meant; says which there are.

    Example:
        >>> find_columns([Role("text", ("text", "sentence"))], ["label", "Sentence"], {}, "a.tsv")
        {'text': 'Sentence'}
        >>> find_columns([Role("text", ())], ["title", "body"], {"text": "text|title+body"}, "b.tsv")
        {'text': 'title+body'}
    """
    filled = [name for name in header if not rows or any(not is_missing(row.values.get(name)) for row in rows)]
    columns = _requested_columns(roles, header, requested, origin) | _columns_beside(roles, filled, requested)
    for role in roles:
        if role.name in columns:
            continue
        taken = {name for column in columns.values() for name in columns_in(column, header)}
        usual = [name for name in _usual(role, filled) if name not in taken]
        if not usual and role.needed:
            usual = [name for name in _usual(role, header) if name not in taken]
        if usual:
            columns[role.name] = _choose(role, usual, rows, origin)
        elif role.needed and (labelled or not role.label):
            if role.name == "label":
                refuse_marks([name for name in filled if name not in taken], rows, origin)
            known = ", ".join(header)[:300]
            raise DataError("task.no_column", path=origin, role=role.name, usual=usual_names(role.names), known=known)
    _refuse_unread_texts(roles, columns, filled, rows, origin)
    return {role.name: columns[role.name] for role in roles if columns.get(role.name)}


def _requested_columns(
    roles: Sequence[Role], header: Sequence[str], requested: Mapping[str, str], origin: str
) -> dict[str, str]:
    columns = {}
    for role in roles:
        wanted = requested.get(role.name)
        if wanted is None:
            continue
        chosen = choose_column(wanted, header) if wanted else ""
        if chosen is None or (role.needed and not chosen):
            known = ", ".join(header)[:300]
            raise DataError("task.no_such_column", path=origin, given=wanted, role=role.name, known=known)
        columns[role.name] = chosen
    return columns


def _columns_beside(roles: Sequence[Role], header: Sequence[str], requested: Mapping[str, str]) -> dict[str, str]:
    """Columns that play two roles together, or what is left of these where the user named one."""
    named = {plain_name(name): name for name in reversed(header)}
    for before, role in pairwise(roles):
        free = [name for name in (before.name, role.name) if name not in requested]
        texts = [name for name in header if plain_name(name) in role.either and name not in requested.values()]
        if texts and len(texts) == len(free):
            return dict(zip(free, texts, strict=True))
        for first, second in role.beside if len(free) == 2 else ():
            if first in named and second in named:
                return {before.name: named[first], role.name: named[second]}
    return {}


def _usual(role: Role, header: Sequence[str]) -> list[str]:
    """The columns with a usual name of a role, the most telling first."""
    return [column for name in role.names for column in header if plain_name(column) == name]


def _choose(role: Role, usual: Sequence[str], rows: Sequence[Row], origin: str) -> str:
    """The most telling column, and those that are filled only in rows where it is not."""
    if role.together:
        return "+".join(usual)
    chosen, others = [usual[0]], []
    for name in usual[1:]:
        apart = rows and not any(_has(row, name) and any(_has(row, other) for other in chosen) for row in rows)
        (chosen if apart else others).append(name)
    parts = [name for name in (usual[0], *others) if plain_name(name) in role.parts]
    if usual[0] in parts and len(parts) > 1:
        known = {"given": ", ".join(parts), "joined": "+".join(parts), "one": parts[-1]}
        raise DataError("task.several_columns", path=origin, role=role.name, **known)
    return "|".join(chosen)


def _has(row: Row, column: str) -> bool:
    return not is_missing(row.values.get(column))


def _refuse_unread_texts(
    roles: Sequence[Role], columns: Mapping[str, str], header: Sequence[str], rows: Sequence[Row], origin: str
) -> None:
    """Refuse a file where a role has no column and texts stand in columns that nobody reads.

    Raises:
        DataError: it is so; names the columns.
    """
    read = {name for column in columns.values() for name in columns_in(column, header)}
    said = {plain_name(column) for column in columns.values()}
    texts = [
        name
        for name in header
        if name not in read
        and plain_name(name) not in PLAIN
        and any(isinstance(row.values.get(name), str | list) for row in rows)
    ]
    for role in roles:
        if role.alone is not None and role.name not in columns and texts and not said & set(role.alone):
            known = {"usual": usual_names(role.names), "given": ", ".join(texts), "one": texts[0]}
            raise DataError("task.unread_texts", path=origin, role=role.name, **known)


def file_of(row: Row) -> str:
    """The file that a row stands in.

    Example:
        >>> file_of(Row({}, "a/b.jsonl:12"))
        'a/b.jsonl'
    """
    return row.origin.rpartition(":")[0] or row.origin


def place_rows(
    rows: Sequence[Row],
    roles: Sequence[Role],
    requested: Mapping[str, str],
    *,
    labelled: bool = True,
    account: Account | None = None,
) -> list[Placed]:
    """Each row with the columns of its file, which are found among all that any of its rows has.

    Args:
        rows: of one file or several.
        roles: the parts that the task knows.
        requested: columns by role, where the user said.
        labelled: whether each must have its label.
        account: is told the columns of each file.

    Raises:
        DataError: a column is missing, or it is not clear which is meant.

    Example:
        >>> rows = [Row({"text": "good"}, "a.jsonl:1"), Row({"sentence": "bad", "id": 7}, "b.jsonl:1")]
        >>> [dict(columns) for _, columns in place_rows(rows, [Role("text", ("text", "sentence"))], {})]
        [{'text': 'text'}, {'text': 'sentence'}]
    """
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(file_of(row), []).append(row)
    columns: dict[str, Columns] = {}
    for file, file_rows in files.items():
        header = list(dict.fromkeys(name for row in file_rows for name in row.values))
        columns[file] = find_columns(roles, header, requested, file, labelled=labelled, rows=file_rows)
        if account is not None:
            read = {name for column in columns[file].values() for name in columns_in(column, header)}
            account.columns[file] = columns[file]
            account.unread[file] = tuple(name for name in header if name not in read)
    return [(row, columns[file_of(row)]) for row in rows]


def make_records(
    placed: Iterable[Placed],
    make: Callable[[Row, Columns], Record],
    *,
    on_error: Literal["strict", "skip", "replace"] = "strict",
    count: Count | None = None,
) -> list[Record]:
    """Records from rows; those that lack a value are left out and counted, and where damage is forgiven, the damaged.

    Args:
        placed: rows with their columns.
        make: a row and its columns to a record.
        on_error: whether a damaged row stops the reading.
        count: is told what became of each row.

    Raises:
        DataError: a row is damaged, and `on_error` is strict.
    """
    records, count = [], Count() if count is None else count
    for row, columns in placed:
        count.rows += 1
        try:
            records.append(make(row, columns))
            count.used += 1
        except DataError as error:
            if on_error == "strict" and not isinstance(error, MissingValueError):
                raise
            count.leave_out(error)
    return records
