"""Labelled data: tables and JSON lines as rows with named values of any type."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trifold.data.file import LONGEST_LINE, bad_line, decode_lines, open_file, parse_json, read_lines, split_suffix
from trifold.errors import DataError, MissingExtraError
from trifold.plain_file import sha256

__all__ = ["Row", "file_digest", "read_rows"]

TABLES = {".csv": ",", ".tsv": "\t"}
KNOWN = ".jsonl, .csv, .tsv, .parquet, .txt (one text a line), each also .gz or .zst"


@dataclass(frozen=True, slots=True)
class Row:
    """One record.

    Attributes:
        values: by column or key.
        origin: file and line, for messages.

    Example:
        >>> Row({"text": "good", "label": 1}, "a.jsonl:1").values["label"]
        1
    """

    values: Mapping[str, Any]
    origin: str


def read_rows(path: str | Path) -> Iterator[Row]:
    r"""The rows of a file, in order; `-` reads JSON lines or plain lines from standard input.

    Values of csv and tsv are strings; those of jsonl and parquet have their own types.

    Raises:
        DataError: the file is missing, of an unknown format, or a record is damaged; names the line.
        MissingExtraError: the library for its format is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.tsv").write_text("label\ttext\n1\tgood\n", encoding="utf-8")
        ...     [dict(row.values) for row in read_rows(Path(folder) / "a.tsv")]
        [{'label': '1', 'text': 'good'}]
    """
    if str(path) == "-":
        yield from _from_lines(sys.stdin.buffer, "-")  # type: ignore[arg-type]
        return
    place = Path(path)
    if not place.is_file():
        raise DataError("data.no_such_path", path=path)
    suffix = split_suffix(place.name)[0]
    try:
        if suffix == ".parquet":
            yield from _from_parquet(place)
            return
        with open_file(place) as stream:
            if suffix in (".jsonl", ".ndjson"):
                yield from _from_json_lines(stream, str(path))
            elif suffix in TABLES:
                yield from _from_table(stream, str(path), TABLES[suffix])
            elif suffix in (".txt", ""):
                yield from _from_lines(stream, str(path))
            else:
                raise DataError("data.unknown_format", path=path, known=KNOWN)
    except (OSError, EOFError) as error:
        raise DataError("data.unreadable", path=path, problem=str(error) or type(error).__name__) from None


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sha256(Path(path))
    except OSError as error:
        raise DataError("data.unreadable", path=path, problem=str(error)) from None


def _from_json_lines(stream: io.BufferedIOBase, origin: str) -> Iterator[Row]:
    for number, line in read_lines(stream, origin):
        if line.strip():
            yield _json_row(line, origin, number)


def _json_row(line: bytes, origin: str, number: int) -> Row:
    try:
        text = line.decode("utf-8")
        text.encode("utf-8")  # refuses lone surrogates
        record = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise bad_line(origin, number, error) from None
    if not isinstance(record, dict):
        raise bad_line(origin, number, TypeError(f"{type(record).__name__} where an object was expected"))
    return Row(record, f"{origin}:{number}")


def _from_lines(stream: io.BufferedIOBase, origin: str) -> Iterator[Row]:
    """Plain lines, each a text; a line that is a JSON object is taken as a record."""
    for number, line in read_lines(stream, origin):
        if line.lstrip()[:1] == b"{":
            yield _json_row(line, origin, number)
        elif line.strip():
            try:
                yield Row({"text": line.decode("utf-8").rstrip("\r\n")}, f"{origin}:{number}")
            except UnicodeDecodeError as error:
                raise bad_line(origin, number, error) from None


def _from_table(stream: io.BufferedIOBase, origin: str, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_LINE)
    quoted = delimiter == ","
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    rows = csv.reader(decode_lines(stream, origin), delimiter=delimiter, quoting=quoting, strict=quoted)
    try:
        header = next(rows, [])
        for row in rows:
            if not row:
                continue
            if len(row) > len(header) or len(set(header)) < len(header):
                problem = f"{len(row)} columns, the header has {len(set(header))} names"
                raise DataError("data.bad_record", path=origin, line=rows.line_num, column=1, problem=problem)
            padded = [*row, *[""] * (len(header) - len(row))]  # empty last columns are often left out
            yield Row(dict(zip(header, padded, strict=True)), f"{origin}:{rows.line_num}")
    except csv.Error as error:
        raise bad_line(origin, rows.line_num, error) from None


def _from_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("data.needs_extra", path=path, library="pyarrow", extra="data") from None
    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=256):
            for record in batch.to_pylist():
                number += 1
                yield Row(record, f"{path}:{number}")
    except pyarrow.ArrowException as error:
        raise DataError("data.unreadable", path=path, problem=str(error)[:200]) from None
