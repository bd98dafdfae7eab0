"""What was read, and what was not: nothing is passed over without a word."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trifold.locale import message

__all__ = ["ReadReport"]


@dataclass(slots=True)
class ReadReport:
    """What was read, and what was not.

    Attributes:
        documents, rows: how many of them were read.
        reasons: how many records were left out, by the code of the reason.
        replaced: characters that stand for bytes that could not be decoded.
        blank: documents and rows without any text.
        short: rows that had fewer cells than there are columns; the others count as empty.
        ignored: files that were not read, with the reason.
        encodings: by file, where it is not UTF-8 without a mark.
        looks: by file, the encoding that it looks like where some of it could not be decoded.
        sheets: sheets of workbooks that were not read.
        texts: by file, the columns that were read as running text.
        facts: by file, the columns of a table of which each row says something about its first cell.
        unused: by file, the columns that were not read.

    Example:
        >>> ReadReport().skipped
        0
    """

    documents: int = 0
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    replaced: int = 0
    blank: int = 0
    short: int = 0
    ignored: dict[str, str] = field(default_factory=dict)
    encodings: dict[str, str] = field(default_factory=dict)
    looks: dict[str, str] = field(default_factory=dict)
    sheets: list[str] = field(default_factory=list)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    facts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unused: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def skipped(self) -> int:
        """How many records were left out."""
        return self.reasons.total()

    @property
    def reasons_in_words(self) -> str:
        """Why records were left out, the most frequent reason first."""
        return ", ".join(f"{message(code)} {count}" for code, count in self.reasons.most_common())

    def lines(self) -> list[str]:
        """All that a person should know, in sentences.

        Example:
            >>> ReadReport(reasons=Counter({"data.left_json": 2})).lines()
            ['2 records left out: damaged JSON 2']
        """
        said = _by_file(self._columns())
        if self.reasons:
            said.append(message("data.told_left_out", count=self.skipped, reasons=self.reasons_in_words))
        said += [message("data.told_replaced", count=self.replaced)] * bool(self.replaced)
        said += [message("data.told_blank", count=self.blank)] * bool(self.blank)
        said += [message("data.told_short", count=self.short)] * bool(self.short)
        said += _by_file({file: message("data.told_encoding", name=name) for file, name in self.encodings.items()})
        said += _by_file({file: message("data.looks_like", name=name).strip() for file, name in self.looks.items()})
        said += [message("data.told_sheet", path=sheet) for sheet in self.sheets]
        return [*said, *(message("data.told_ignored", path=file, reason=why) for file, why in self.ignored.items())]

    def _columns(self) -> dict[str, str]:
        """Which columns of each table were read, where that is not all there is to it."""
        said = {}
        for file, columns in self.texts.items():
            unused = self.unused.get(file, ())
            if unused or columns != ("text",):
                told = message("data.told_columns", read=", ".join(columns))
                said[file] = told + (message("data.told_unused", unused=", ".join(unused)) if unused else "")
        for file, (about, *others) in self.facts.items():
            said[file] = message("data.told_facts", about=about, columns=", ".join(others))
        return said

    def to_json(self) -> dict[str, Any]:
        """The report as JSON data."""
        columns = {
            file: {"read": list(columns), "not_used": list(self.unused.get(file, ()))}
            for file, columns in self.texts.items()
        }
        return {
            "documents": self.documents,
            "rows": self.rows,
            "left_out": dict(self.reasons),
            "replaced": self.replaced,
            "blank": self.blank,
            "short": self.short,
            "columns": columns,
            "encodings": dict(self.encodings),
            "looks_like": dict(self.looks),
            "sheets_not_read": list(self.sheets),
            "ignored": dict(self.ignored),
        }


def _by_file(said: Mapping[str, str]) -> list[str]:
    """A line for all files of which the same is to be said; long rows of files are cut short."""
    alike: dict[str, list[str]] = {}
    for file, line in said.items():
        alike.setdefault(line, []).append(file)
    shown = {
        line: ", ".join(files[:3]) + (f" +{len(files) - 3}" if len(files) > 3 else "") for line, files in alike.items()
    }
    return [f"{files}: {line}" for line, files in shown.items()]
