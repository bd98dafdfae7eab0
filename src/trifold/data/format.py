"""The formats of files that can be read, each told once: its endings, its rows, and its running text where it is one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trifold.data.columnar import read_hub, read_parquet
from trifold.data.file import split_suffix
from trifold.data.nested import read_json, read_json_lines
from trifold.data.plain import read_columns, read_plain_rows, read_standard_input
from trifold.data.reading import Row, Source
from trifold.data.table import read_comma_separated, read_tab_separated
from trifold.errors import DataError

__all__ = ["FORMATS", "HUB", "KNOWN", "STANDARD_INPUT", "Format", "find_format", "format_of"]


@dataclass(frozen=True, slots=True)
class Format:
    """How files of some endings are read.

    Attributes:
        endings: in lower case, with their dot.
        rows: gives the rows of a file.
        text: gives the running text of a file in blocks; None for a table.

    Example:
        >>> find_format("a.CSV.gz").endings
        ('.csv',)
    """

    endings: tuple[str, ...]
    rows: Callable[[Source], Iterator[Row]]
    text: Callable[[Source], Iterator[str]] | None = None


FORMATS = (
    Format((".txt", ".text", ".tokens", ".md", ".rst", ".py", ".tex", ".html", ".log", ""), read_plain_rows,
           Source.blocks),
    Format((".jsonl", ".ndjson"), read_json_lines),
    Format((".json",), read_json),
    Format((".csv",), read_comma_separated),
    Format((".tsv", ".tab"), read_tab_separated),
    Format((".parquet",), read_parquet),
    Format((".conll", ".conllu", ".bio", ".iob", ".iob2", ".bmes"), read_columns),
)  # fmt: skip
STANDARD_INPUT = Format((), read_standard_input, Source.blocks)
HUB = Format((), read_hub)
KNOWN = ", ".join(sorted(ending for one in FORMATS for ending in one.endings if ending))
"""All endings, for messages."""


def find_format(name: str | Path) -> Format | None:
    """The format that a file's name says; None for an unknown one.

    Example:
        >>> find_format("a.exe") is None
        True
    """
    ending = split_suffix(Path(name).name)[0]
    return next((one for one in FORMATS if ending in one.endings), None)


def format_of(path: str | Path) -> Format:
    """The same.

    Raises:
        DataError: it is unknown; says which are known.
    """
    found = find_format(path)
    if found is None:
        raise DataError("data.unknown_format", path=path, known=KNOWN)
    return found
