"""Files of office programs: sheets of workbooks as rows, documents of Word and PDF as running text."""

import datetime
import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trifold.data.reading import Row, Source
from trifold.data.table import fit, name_columns
from trifold.errors import DataError, MissingExtraError, TrifoldError
from trifold.locale import message

__all__ = ["read_pdf", "read_word", "read_workbook"]

LOCK, READERS, LEVELS = threading.Lock(), Counter[str](), dict[str, int]()
"""Levels of logs belong to the whole process: how many files are being read by a library, and what its level was."""


@contextmanager
def _library(source: Source, name: str, extra: str) -> Iterator[None]:
    """What a library says of a missing part of itself or of a damaged file, in our words; its log is silent meanwhile.

    Such files are archives and programs of sorts, made by others; what their libraries raise has no end.
    """
    try:
        with _silent(name):
            yield
    except ImportError:
        raise MissingExtraError("data.needs_extra", path=source.origin, library=name, extra=extra) from None
    except TrifoldError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        problem = f"{type(error).__name__}: {error}"[:200]
        raise DataError("data.unreadable", path=source.origin, problem=problem) from None


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """A library's log says nothing until the last of the files read at once is done; then it is as before the first."""
    log = logging.getLogger(name)
    with LOCK:
        before = LEVELS.setdefault(name, log.level)
        READERS[name] += 1
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        with LOCK:
            READERS[name] -= 1
            if not READERS[name]:
                log.setLevel(before)
                del LEVELS[name]


def read_workbook(source: Source) -> Iterator[Row]:
    """Rows of a sheet of an xlsx workbook: the one named after the file (`book.xlsx:Sheet2`), or the first that is shown.

    Numbers, dates and results of formulas are as people see them; the other sheets are told.

    Raises:
        MissingExtraError: openpyxl is not installed.
        DataError: it is damaged, or has no such sheet.
    """
    with _library(source, "openpyxl", "office"):
        import openpyxl

        shown = openpyxl.load_workbook(source.content(), read_only=True, data_only=True)
        written = openpyxl.load_workbook(source.content(), read_only=True)
        sheet = _choose_sheet(source, shown.worksheets)
        if sheet is None:
            return
        yield from _rows(source, zip(sheet.iter_rows(), written[sheet.title].iter_rows(), strict=False))


def _choose_sheet(source: Source, sheets: list[Any]) -> Any:
    filled = [sheet for sheet in sheets if any(cell.value is not None for row in sheet.iter_rows() for cell in row)]
    wanted = [sheet for sheet in filled if (sheet.title == source.sheet if source.sheet else True)]
    if source.sheet and not wanted:
        raise DataError("data.no_sheet", path=source.origin, known=", ".join(sheet.title for sheet in filled))
    wanted = [sheet for sheet in wanted if sheet.sheet_state == "visible"] or wanted
    if not source.sheet:
        source.report.sheets += [f"{source.origin}:{sheet.title}" for sheet in filled if sheet is not wanted[0]]
    return wanted[0] if wanted else None


def _rows(source: Source, pairs: Iterator[tuple[Any, Any]]) -> Iterator[Row]:
    names: list[str] = []
    for number, (shown, written) in enumerate(pairs, start=1):
        cells = [_value(cell) for cell in shown]
        unknown = next(
            (
                cell.coordinate
                for cell, other in zip(shown, written, strict=False)
                if cell.value is None and other.value is not None
            ),
            None,
        )
        if unknown is not None:
            problem = message("data.no_result", cell=unknown)
            source.damaged(number, 1, problem, "data.left_formula")
        elif all(cell == "" for cell in cells):
            source.report.blank += bool(names)
        elif not names:
            names = name_columns([str(cell) for cell in cells])
        else:
            yield from fit(source, names, cells[: max(len(names), _last(cells))], number)


def _last(cells: list[Any]) -> int:
    """The number of cells up to the last that is filled."""
    return max((place for place, cell in enumerate(cells, start=1) if cell != ""), default=0)


def _value(cell: Any) -> Any:
    """What a cell shows: empty text for nothing and for errors, whole numbers without a point, dates as in ISO 8601."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, bool | str) else str(value)
    if re.fullmatch("0{2,}", cell.number_format or ""):  # a code of so many digits
        return f"{round(value):0{len(cell.number_format)}}"
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.15g}")


def read_word(source: Source) -> Iterator[str]:
    """The text of a docx document: paragraphs, and tables with a tab between cells.

    Raises:
        MissingExtraError: python-docx is not installed.
        DataError: it is damaged.
    """
    with _library(source, "python-docx", "documents"):
        import docx
        from docx.table import Table

        for block in docx.Document(source.content()).iter_inner_content():
            if isinstance(block, Table):
                yield from ("\t".join(cell.text for cell in row.cells) + "\n" for row in block.rows)
                yield "\n"
            else:
                yield block.text + "\n\n" if block.text.strip() else ""


def read_pdf(source: Source) -> Iterator[str]:
    """The text of a PDF document, page by page; pages without text, as scans are, are counted.

    Raises:
        MissingExtraError: pypdf is not installed.
        DataError: it is damaged, locked by a password, or has no text at all.
    """
    with _library(source, "pypdf", "documents"):
        import pypdf

        reader = pypdf.PdfReader(source.content())
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError("data.locked", path=source.origin)
        empty = 0
        for page in reader.pages:
            text = page.extract_text()
            empty += not text.strip()
            yield text.encode("utf-8", "replace").decode() + "\n\n" if text.strip() else ""
        if empty == len(reader.pages):
            raise DataError("data.scanned", path=source.origin, pages=empty)
        source.report.reasons.update(["data.left_page"] * empty)
