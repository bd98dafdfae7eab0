"""What became of the data: which columns were read and which were not, and why rows were left out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trifold.data.reading import ReadReport
from trifold.errors import DataError
from trifold.locale import catalogue, language, message

__all__ = ["Account", "Count", "Cut", "LeftOut"]


@dataclass(slots=True)
class LeftOut:
    """Rows that were left out for one reason.

    Attributes:
        code: of the error that says why.
        column: whose value is to blame; nothing where it is none in particular.
        first: file and line of the first of them.
        count: how many they are.

    Example:
        >>> str(LeftOut("task.empty_value", "target", "a.csv:2", 9))
        'empty target 9'
    """

    code: str
    column: str
    first: str
    count: int = 0

    def __str__(self) -> str:
        key = f"why_{self.code.rpartition('.')[2]}"
        told = message(f"task.{key}", name=self.column) if key in catalogue(language())["task"] else self.code
        return f"{told} {self.count}"


@dataclass(slots=True)
class Count:
    """How many rows were read and used, and why the others were left out.

    Example:
        >>> count = Count(rows=2, used=1)
        >>> count.leave_out(DataError("task.empty_value", name="text", origin="a.csv:2"))
        >>> count.reasons, count.complete
        ('empty text 1', True)
    """

    rows: int = 0
    used: int = 0
    left_out: dict[tuple[str, str], LeftOut] = field(default_factory=dict)

    def leave_out(self, error: DataError) -> None:
        """Count a row that an error keeps from being used."""
        column, origin = str(error.values.get("name", "")), str(error.values.get("origin", ""))
        self.left_out.setdefault((error.code, column), LeftOut(error.code, column, origin)).count += 1

    @property
    def reasons(self) -> str:
        """Why rows were left out, the most frequent reason first."""
        return ", ".join(map(str, sorted(self.left_out.values(), key=lambda one: -one.count)))

    @property
    def skipped(self) -> int:
        """How many rows were left out."""
        return sum(one.count for one in self.left_out.values())

    @property
    def complete(self) -> bool:
        """Whether each row was either used or left out for a reason."""
        return self.used + self.skipped == self.rows

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON data."""
        reasons = [
            {"code": one.code, "column": one.column, "count": one.count, "first": one.first}
            for one in self.left_out.values()
        ]
        return {"rows": self.rows, "used": self.used, "left_out": reasons}


@dataclass(slots=True)
class Cut:
    """How many texts were laid before a model, how many were too long for it, and which setting says how long they may be.

    Example:
        >>> cut = Cut(limit=8)
        >>> cut.count(longer=True)
        >>> (cut.texts, cut.cut)
        (1, 1)
    """

    limit: int = 0
    texts: int = 0
    cut: int = 0
    setting: str = "task.max_length"

    def count(self, *, longer: bool) -> None:
        """Count a text, and whether some of it was left off."""
        self.texts += 1
        self.cut += longer


@dataclass(slots=True)
class Account:
    """What became of the columns and rows of some files.

    Attributes:
        columns: of each file, the column of each role.
        unread: of each file, the columns that no role reads.
        splits: the rows of each split.
        cut: of each split, the texts that were longer than the model reads.
        reports: what the reader of the files of each split says.
        notes: what was taken from the data that could be meant otherwise.

    Example:
        >>> account = Account({"a.csv": {"text": "sentence"}}, {"a.csv": ("id",)}, {"train": Count(rows=3, used=3)})
        >>> account.column_lines() + account.row_lines()
        ['columns: text = sentence; not used: id', 'train: 3 of 3 rows used']
    """

    columns: dict[str, Mapping[str, str]] = field(default_factory=dict)
    unread: dict[str, tuple[str, ...]] = field(default_factory=dict)
    splits: dict[str, Count] = field(default_factory=dict)
    cut: dict[str, Cut] = field(default_factory=dict)
    reports: dict[str, ReadReport] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def column_lines(self) -> list[str]:
        """Which columns are read and which are not: a line for all files with the same columns."""
        alike: dict[str, list[str]] = {}
        for file, columns in self.columns.items():
            alike.setdefault(_describe(columns, self.unread.get(file, ())), []).append(file)
        several = len(alike) > 1
        return [f"{', '.join(files)}: {line}" if several else line for line, files in alike.items()]

    def row_lines(self) -> list[str]:
        """How many rows of each split are used, and why the others are not."""
        told = [f"{name}: {line}" for name, report in self.reports.items() for line in report.lines()]
        return told + [_rows(name, count) for name, count in self.splits.items()]

    def cut_lines(self, split: str | None = None) -> list[str]:
        """How many texts of each split, or of one, were cut because they were too long."""
        return [
            message("task.texts_cut", split=name, cut=one.cut, texts=one.texts, limit=one.limit, setting=one.setting)
            for name, one in self.cut.items()
            if one.cut and split in (None, name)
        ]

    def lines(self) -> list[str]:
        """The whole account for a person."""
        return [*self.column_lines(), *self.notes, *self.row_lines(), *self.cut_lines()]

    def to_json(self) -> dict[str, Any]:
        """The account as JSON data."""
        files = {
            file: {"columns": dict(columns), "not_used": list(self.unread.get(file, ()))}
            for file, columns in self.columns.items()
        }
        rows = {name: count.to_json() for name, count in self.splits.items()}
        cut = {name: asdict(one) for name, one in self.cut.items()}
        reading = {name: report.to_json() for name, report in self.reports.items()}
        return {"files": files, "rows": rows, "reading": reading, "cut": cut, "lines": self.lines()}


def _describe(columns: Mapping[str, str], unread: tuple[str, ...]) -> str:
    read = ", ".join(f"{role} = {column}" for role, column in columns.items())
    return message("task.columns", read=read) + (
        message("task.columns_unread", unread=", ".join(unread)) if unread else ""
    )


def _rows(name: str, count: Count) -> str:
    told = message("task.rows_used", split=name, used=count.used, rows=count.rows)
    return told + (message("task.rows_left_out", count=count.skipped, reasons=count.reasons) if count.left_out else "")
