"""Labelled examples: which column of a file plays which part, and what stands in it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trifold.data.rows import Row
from trifold.errors import DataError

__all__ = ["Columns", "Record", "Role", "choose_column", "find_columns", "mostly_chinese", "read_records", "text_of"]


@dataclass(frozen=True, slots=True)
class Record:
    """One example of a task.

    Attributes:
        inputs: the texts that the model reads.
        gold: what it should say; None where nobody knows.
        origin: file and line, for messages.

    Example:
        >>> Record(("a good film",), "positive").gold
        'positive'
    """

    inputs: tuple[str, ...]
    gold: Any = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """A part that a column can play.

    Attributes:
        name: of the part.
        names: what such a column is usually called, the most telling first.
        needed: whether a file without one is refused.
        label: whether it holds what should be said, which is not needed at inference.
    """

    name: str
    names: tuple[str, ...]
    needed: bool = True
    label: bool = False


Columns = Mapping[str, str]
"""The column of each role that was found."""


def find_columns(
    roles: Sequence[Role], header: Sequence[str], given: Mapping[str, str], origin: str, *, labelled: bool = True
) -> dict[str, str]:
    """The column for each role: the one that was given, else the one with a usual name.

    Args:
        roles: the parts.
        header: names of the columns.
        given: columns by role, where the user said.
        origin: the file, for messages.
        labelled: whether roles that hold labels are needed.

    Raises:
        DataError: a column that is needed is missing; says which there are.

    Example:
        >>> find_columns([Role("text", ("text", "sentence"))], ["label", "sentence"], {}, "a.tsv")
        {'text': 'sentence'}
        >>> find_columns([Role("text", ())], ["title", "body"], {"text": "text|title+body"}, "b.tsv")
        {'text': 'title+body'}
    """
    found: dict[str, str] = {}
    for role in roles:
        wanted = given.get(role.name)
        chosen = None if wanted is None else choose_column(wanted, header)
        if wanted is not None and chosen is None:
            raise DataError("data.no_column", path=origin, given=wanted, known=", ".join(header)[:300])
        free = [name for name in role.names if name in header and name not in found.values()]
        if chosen or free:
            found[role.name] = chosen or free[0]
        elif role.needed and (labelled or not role.label):
            known = ", ".join(header)[:300]
            raise DataError("task.no_column", path=origin, role=role.name, usual=", ".join(role.names), known=known)
    return found


def choose_column(wanted: str, header: Collection[str]) -> str | None:
    """A column as the user named it, or of `a|b+c` the first choice whose columns are all there; None where none is.

    Example:
        >>> choose_column("text|title+body", ["title", "body"])
        'title+body'
    """
    choices = [wanted] if wanted in header else wanted.split("|")
    return next((one for one in choices if one in header or all(part in header for part in one.split("+"))), None)


def text_of(row: Row, column: str) -> str:
    """The text in a column, or of the columns `a+b` with a space between them; numbers are written out.

    Raises:
        DataError: there is none, or it is no text.
    """
    if column not in row.values and "+" in column:
        return " ".join(text_of(row, part) for part in column.split("+"))
    value = row.values.get(column)
    if isinstance(value, bool | int | float):
        return str(value)
    if not isinstance(value, str):
        raise DataError("task.bad_value", origin=row.origin, name=column, given=type(value).__name__)
    return value


def read_records(
    rows: Sequence[Row],
    roles: Sequence[Role],
    given: Mapping[str, str],
    make: Callable[[Row, Columns], Record],
    *,
    labelled: bool = True,
    skip: bool = False,
) -> list[Record]:
    """Records from rows whose columns are found by role.

    Args:
        rows: of one file.
        roles: the parts that the task knows.
        given: columns by role, where the user said.
        make: a row and the columns to a record.
        labelled: whether each must have its label.
        skip: leave out the rows that `make` refuses.

    Raises:
        DataError: a column is missing, or a row is refused and not skipped.
    """
    if not rows:
        return []
    columns = find_columns(roles, list(rows[0].values), given, rows[0].origin, labelled=labelled)
    records = []
    for row in rows:
        try:
            records.append(make(row, columns))
        except DataError:
            if not skip:
                raise
    return records


def mostly_chinese(texts: Iterable[str]) -> bool:
    """Whether at least a third of the characters are Han.

    Example:
        >>> mostly_chinese(["北京 is a city"]), mostly_chinese(["北京的 city"]), mostly_chinese([])
        (False, True, False)
    """
    text = "".join(texts)
    return sum("\u4e00" <= one <= "\u9fff" for one in text) * 3 >= len(text) > 0
