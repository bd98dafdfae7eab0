"""The formats of files that can be read, each told once: its endings, its rows, and its running text where it is one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from trifold.data.columnar import read_hub, read_parquet
from trifold.data.file import split_suffix
from trifold.data.nested import read_json, read_json_lines
from trifold.data.office import read_pdf, read_word, read_workbook
from trifold.data.page import read_page
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
        titled: whether the text begins with its title.
        library: module of the optional library that it needs; it comes with `extra`.

    Example:
        >>> find_format("a.CSV.gz").endings
        ('.csv',)
    """

    endings: tuple[str, ...]
    rows: Callable[[Source], Iterator[Row]]
    text: Callable[[Source], Iterator[str]] | None = None
    titled: bool = False
    library: str = ""
    extra: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether the library that it needs is there."""
        return not self.library or find_spec(self.library) is not None


def whole(text: Callable[[Source], Iterator[str]], source: Source) -> Iterator[Row]:
    """One row: all of a document."""
    yield Row({"text": "".join(text(source))}, f"{source.origin}:1")


FORMATS = (
    Format((".txt", ".text", ".tokens", ".md", ".rst", ".py", ".tex", ".log", ""), read_plain_rows, Source.blocks),
    Format((".jsonl", ".ndjson"), read_json_lines),
    Format((".json",), read_json),
    Format((".csv",), read_comma_separated),
    Format((".tsv", ".tab"), read_tab_separated),
    Format((".parquet",), read_parquet),
    Format((".xlsx", ".xlsm"), read_workbook, library="openpyxl", extra="office"),
    Format((".html", ".htm", ".xhtml"), partial(whole, read_page), read_page, titled=True),
    Format((".docx",), partial(whole, read_word), read_word, library="docx", extra="documents"),
    Format((".pdf",), partial(whole, read_pdf), read_pdf, library="pypdf", extra="documents"),
    Format((".conll", ".conllu", ".bio", ".iob", ".iob2", ".bmes"), read_columns),
)
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
    form = find_format(path)
    if form is None:
        raise DataError("data.unknown_format", path=path, known=KNOWN)
    return form
