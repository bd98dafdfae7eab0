"""Rows of files of any format, of folders, of standard input and of data sets on a hub."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from trifold.data.format import HUB, KNOWN, STANDARD_INPUT, Format, find_format, format_of
from trifold.data.reading import ReadReport, Row, Source, SourceOptions
from trifold.errors import DataError
from trifold.locale import message
from trifold.plain_file import sha256

__all__ = ["Row", "file_digest", "find_sources", "fingerprint", "list_files", "read_rows", "require_there", "rows_of"]

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


def read_rows(
    path: str | Path, options: SourceOptions | None = None, report: ReadReport | None = None
) -> Iterator[Row]:
    r"""The rows of a file, a folder or a data set of the hub, in order; `-` reads standard input.

    Values of csv, tsv and CoNLL are strings; those of other formats have their own types. An article of published
    question answering gives a row a question.

    Args:
        path: file, folder, `-`, or `owner/name` or `owner/name:split` on the hub.
        options: how to read.
        report: is filled in as reading goes on.

    Raises:
        DataError: the file is missing, of an unknown format, or under `strict` a record is damaged; names the line.
        MissingExtraError: the library for its format is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.tsv").write_text("label\ttext\n1\tgood\n", encoding="utf-8")
        ...     [dict(row.values) for row in read_rows(Path(folder) / "a.tsv")]
        [{'label': '1', 'text': 'good'}]
    """
    options, report = options or SourceOptions(), report or ReadReport()
    for source, form in find_sources(str(path), options, report):
        for row in rows_of(source, form):
            report.rows += 1
            report.short += bool(row.problem)
            yield row


def rows_of(source: Source, form: Format) -> Iterator[Row]:
    """The rows of one source.

    Raises:
        DataError: it cannot be read; see `read_rows`.
    """
    empty = True
    try:
        for row in form.rows(source):
            empty = False
            yield row
    except (OSError, EOFError) as error:  # gzip reports damage as OSError, a cut-off stream as EOFError
        raise DataError("data.unreadable", path=source.origin, problem=str(error) or type(error).__name__) from None
    if empty and source.lost is not None:  # all of it is damaged: it is of another encoding
        raise source.lost


def find_sources(path: str, options: SourceOptions, report: ReadReport) -> Iterator[tuple[Source, Format]]:
    """What a path stands for: a file, the files of a folder, standard input, or a data set of the hub.

    Raises:
        DataError: there is no such thing, or nothing in it that can be read.
    """
    place = Path(path)
    if path == "-":
        yield Source(None, options, report), STANDARD_INPUT
    elif place.is_dir():
        files = list_files(place, report)
        if not files:
            raise DataError("data.folder_empty", path=path, known=KNOWN)
        yield from ((Source(file, options, report), format_of(file)) for file in files)
    elif place.is_file():
        yield Source(place, options, report), format_of(place)
    elif (book := _sheet_of(path)) is not None:
        yield Source(book[0], options, report, origin=path, sheet=book[1]), format_of(book[0])
    elif _is_hub_name(path):
        yield Source(place, options, report, origin=path), HUB
    else:
        raise DataError("data.no_such_path", path=path)


def require_there(path: str) -> None:
    """Refuse a path that stands for nothing here and cannot be a data set of a hub, which is not asked.

    Raises:
        DataError: it is so.

    Example:
        >>> require_there("-")
    """
    if path != "-" and not Path(path).exists() and _sheet_of(path) is None and not _is_hub_name(path):
        raise DataError("data.no_such_path", path=path)


def _sheet_of(path: str) -> tuple[Path, str] | None:
    """The workbook and the sheet of `book.xlsx:Sheet2`."""
    name, _, part = path.rpartition(":")
    return (Path(name), part) if name.lower().endswith((".xlsx", ".xlsm")) and Path(name).is_file() else None


def list_files(path: Path, report: ReadReport | None = None) -> list[Path]:
    """The readable files of a folder and those below it, sorted; hidden ones and unknown endings are left out."""
    files = []
    for file in sorted(path.rglob("*")):
        hidden = any(name.startswith(".") for name in file.relative_to(path).parts)
        if file.is_file() and not hidden:
            form = find_format(file) if file.suffix else None
            if form is not None and form.is_installed:
                files.append(file)
            elif report is not None:
                report.ignored[str(file)] = _why_ignored(file, form)
    return files


def _why_ignored(file: Path, form: Format | None) -> str:
    if form is None:
        return message("data.left_format")
    return message("data.needs_extra", path=file.name, library=form.library, extra=form.extra)


def fingerprint(paths: Sequence[str]) -> str:
    """A hash of the content of local files, in order; names on a hub count by name only.

    Raises:
        DataError: a file cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        place = Path(path)
        for file in list_files(place) if place.is_dir() else [place] * place.is_file():
            try:
                with file.open("rb") as stream:
                    total.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError as error:
                raise DataError("data.unreadable", path=file, problem=str(error)) from None
        total.update(b"" if place.exists() else path.encode())
    return total.hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; of all files of a folder; of the name on a hub.

    Raises:
        DataError: it cannot be read.
    """
    place = Path(path)
    if place.is_dir() or str(path) == "-" or (not place.exists() and _is_hub_name(str(path))):
        return fingerprint([str(path)])
    book = _sheet_of(str(path))
    try:
        return sha256(place if book is None else book[0])
    except OSError as error:
        raise DataError("data.unreadable", path=path, problem=str(error)) from None


def _is_hub_name(path: str) -> bool:
    return HUB_NAME.fullmatch(path) is not None and not Path(path).parent.is_dir()
