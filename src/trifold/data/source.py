"""Text from files: plain text, jsonl, csv, tsv and parquet, also compressed, in a folder, on standard input or on a hub.

Everything is read in a stream. Long text comes in parts that end at line breaks, so that one huge document costs no more
memory than many small ones.
"""

import codecs
import csv
import hashlib
import io
import re
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from trifold.data.file import LONGEST_LINE, bad_line, decode_lines, open_file, parse_json, read_lines, split_suffix
from trifold.errors import DataError, MissingExtraError

__all__ = ["Example", "ReadReport", "SourceOptions", "fingerprint", "list_files", "read"]

PLAIN = {".txt", ".md", ".rst", ".py", ".tex", ".html", ".tokens", ".text", ".log"}
TABLES = {".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"}
SEPARATORS = {"paragraph": re.compile(r"\n\s*\n"), "line": re.compile(r"\n")}
PART_CHARACTERS = 2**16
BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Example:
    """One document, a part of one, or a pair.

    Attributes:
        texts: its text; two for a pair.
        origin: file and line, for messages.
        complete: whether the document ends here.

    Example:
        >>> Example(texts=("Good morning.",)).complete
        True
    """

    texts: tuple[str, ...]
    origin: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How to read.

    Attributes:
        fields: columns or keys to read: one for text, two for a pair; `a|b` is the first of these that is there.
        document: what one document of a plain-text file is.
        on_error: a damaged record stops the reading, is left out, or has its damaged bytes replaced by U+FFFD.

    Example:
        >>> SourceOptions().fields
        ('text',)
    """

    fields: tuple[str, ...] = ("text",)
    document: Literal["file", "paragraph", "line"] = "file"
    on_error: Literal["strict", "skip", "replace"] = "strict"


@dataclass(slots=True)
class ReadReport:
    """What was read, and what was not.

    Example:
        >>> ReadReport().skipped
        0
    """

    documents: int = 0
    skipped: int = 0
    replaced: int = 0
    blank: int = 0
    ignored_files: list[str] = field(default_factory=list)


def read(
    paths: Sequence[str], options: SourceOptions | None = None, report: ReadReport | None = None
) -> Iterator[Example]:
    """Documents of all paths, one after another; blank ones are passed over and counted.

    Args:
        paths: files, folders, `-` for standard input, or names of hub data sets (`owner/name`).
        options: how to read.
        report: is filled in as reading goes on.

    Raises:
        DataError: a path that does not exist, an unknown format, or a damaged record under `on_error="strict"`; names
            the file and the line, column or byte.
        MissingExtraError: a format whose library is not installed.

    Example:
        >>> list(read([]))
        []
    """
    options, report = options or SourceOptions(), report or ReadReport()
    begun = False
    for path in paths:
        for example in _read_path(path, options, report):
            if begun or not example.complete or any(text.strip() for text in example.texts):
                begun = not example.complete
                report.documents += example.complete
                yield from _in_parts(example)
            else:
                report.blank += 1


def _in_parts(example: Example) -> Iterator[Example]:
    """A long document in parts; a pair stays whole."""
    first, *other = example.texts
    *early, last = [first] if other else _parts(first)
    yield from (replace(example, texts=(part,), complete=False) for part in early)
    yield replace(example, texts=(last, *other))


def _parts(text: str) -> list[str]:
    """A long text in parts, which end at line breaks where there are any."""
    parts, start = [], 0
    while len(text) - start > 2 * PART_CHARACTERS:
        end = text.rfind("\n", start, start + PART_CHARACTERS) + 1 or start + PART_CHARACTERS
        parts.append(text[start:end])
        start = end
    return [*parts, text[start:]]


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


def list_files(path: Path, report: ReadReport | None = None) -> list[Path]:
    """The readable files of a folder and those below it, sorted; hidden ones and unknown suffixes are left out."""
    found = []
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and not hidden:
            if split_suffix(file.name)[0] in PLAIN | TABLES:
                found.append(file)
            elif report is not None:
                report.ignored_files.append(str(file))
    return found


def _read_path(path: str, options: SourceOptions, report: ReadReport) -> Iterator[Example]:
    if path == "-":
        yield from _read_plain(sys.stdin.buffer, "-", options, report)  # type: ignore[arg-type]
        return
    place = Path(path)
    if place.is_dir():
        files = list_files(place, report)
        if not files:
            raise DataError("data.folder_empty", path=path, known=", ".join(sorted(PLAIN | TABLES)))
        for file in files:
            yield from _read_file(file, options, report)
    elif place.is_file():
        yield from _read_file(place, options, report)
    elif re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", path) and not place.parent.is_dir():
        yield from _read_hub(path, options)
    else:
        raise DataError("data.no_such_path", path=path)


def _read_file(path: Path, options: SourceOptions, report: ReadReport) -> Iterator[Example]:
    suffix = split_suffix(path.name)[0]
    try:
        if suffix == ".parquet":
            yield from _read_parquet(path, options, report)
            return
        with open_file(path) as stream:
            if suffix in (".jsonl", ".ndjson"):
                yield from _read_json_lines(stream, str(path), options, report)
            elif suffix in (".csv", ".tsv"):
                yield from _read_table(stream, str(path), suffix, options, report)
            elif suffix in PLAIN or not suffix:
                yield from _read_plain(stream, str(path), options, report)
            else:
                raise DataError("data.unknown_format", path=path, known=", ".join(sorted(PLAIN | TABLES)))
    except (OSError, EOFError) as error:  # gzip reports damage as OSError, a cut-off stream as EOFError
        raise DataError("data.unreadable", path=path, problem=str(error) or type(error).__name__) from None


def _decoded(stream: io.BufferedIOBase, origin: str, options: SourceOptions, report: ReadReport) -> Iterator[str]:
    r"""Blocks of text; line ends become \n, a byte order mark is dropped, bad bytes are dealt with."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace" if options.on_error == "replace" else "strict")
    place, carried = 0, ""
    while True:
        block = stream.read(BLOCK)
        if place == 0 and block[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError("data.not_utf8", path=origin, place=0, problem="UTF-16")
        if place == 0:
            block = block.removeprefix(codecs.BOM_UTF8)
        pending = len(decoder.getstate()[0])
        try:
            text = carried + decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise DataError(
                "data.not_utf8", path=origin, place=place - pending + error.start, problem=error.reason
            ) from None
        if "\0" in text and options.on_error != "replace":
            raise DataError("data.not_utf8", path=origin, place=place + block.find(b"\0"), problem="NUL")
        if options.on_error == "replace":
            text = text.replace("\0", "\ufffd")
            report.replaced += text.count("\ufffd")
        carried = "\r" if block and text.endswith("\r") else ""  # the \n of a \r\n may be in the next block
        text = text.removesuffix("\r") if carried else text
        yield text.replace("\r\n", "\n").replace("\r", "\n")
        place += len(block)
        if not block:
            return


def _read_plain(
    stream: io.BufferedIOBase, origin: str, options: SourceOptions, report: ReadReport
) -> Iterator[Example]:
    try:
        blocks = _decoded(stream, origin, options, report)
        yield from _cut_plain(blocks, origin, options.document)
    except DataError:
        if options.on_error != "skip":
            raise
        report.skipped += 1
        yield Example(("",), origin)  # closes a document that was begun


def _cut_plain(blocks: Iterable[str], origin: str, document: str) -> Iterator[Example]:
    separator = SEPARATORS.get(document)
    rest, begun = "", document == "file"
    for block in blocks:
        *whole, rest = separator.split(rest + block) if separator else [rest + block]
        for text in whole:
            if begun or text.strip():
                yield Example((text,), origin)
            begun = False
        *early, rest = _parts(rest)
        yield from (Example((part,), origin, complete=False) for part in early)
        begun = begun or bool(early)
    if begun or rest.strip():
        yield Example((rest,), origin)


def _read_json_lines(
    stream: io.BufferedIOBase, origin: str, options: SourceOptions, report: ReadReport
) -> Iterator[Example]:
    errors = "replace" if options.on_error == "replace" else "strict"
    for number, line in read_lines(stream, origin):
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8", errors)
            report.replaced += text.count("\ufffd") if errors == "replace" else 0
            record = parse_json(text)
            yield _from_record(record, f"{origin}:{number}", options)
        except (ValueError, RecursionError, TypeError) as error:
            if options.on_error == "strict":
                raise bad_line(origin, number, error) from None
            report.skipped += 1


def _choose_field(wanted: str, known: Container[str]) -> str:
    """The first of the names in `a|b|c` that is known; where none is, what was wanted.

    Example:
        >>> _choose_field("text|sentence", ["label", "sentence"])
        'sentence'
    """
    return next((name for name in wanted.split("|") if name in known), wanted)


def _from_record(record: Any, origin: str, options: SourceOptions) -> Example:
    if not isinstance(record, Mapping):
        raise TypeError(f"{type(record).__name__} where an object was expected")
    names = [_choose_field(name, record) for name in options.fields]
    missing = [name for name in names if name not in record]
    if missing:
        wanted = ", ".join(options.fields)
        raise TypeError(f"no field {missing[0]!r} (--text-field names it; wanted: {wanted})")
    texts = tuple(record[name] for name in names)
    for name, text in zip(names, texts, strict=True):
        if not isinstance(text, str):
            raise TypeError(f"field {name!r} is {type(text).__name__}, not a string")
        text.encode("utf-8", "strict" if options.on_error != "replace" else "replace")  # refuses lone surrogates
    if options.on_error == "replace":
        texts = tuple(text.encode("utf-8", "replace").decode("utf-8") for text in texts)
    return Example(texts, origin)


def _read_table(
    stream: io.BufferedIOBase, origin: str, suffix: str, options: SourceOptions, report: ReadReport
) -> Iterator[Example]:
    csv.field_size_limit(LONGEST_LINE)
    errors = "replace" if options.on_error == "replace" else "strict"
    style: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if suffix == ".tsv" else {"strict": True}
    rows = csv.reader(decode_lines(stream, origin, errors), **style)
    try:
        header = next(rows, [])
        names = [_choose_field(name, header) for name in options.fields]
        missing = [name for name in names if name not in header]
        if missing:
            raise DataError("data.no_column", path=origin, given=missing[0], known=", ".join(header)[:300])
        columns = [header.index(name) for name in names]
        for row in rows:
            if len(row) == len(header):
                yield Example(tuple(row[column] for column in columns), f"{origin}:{rows.line_num}")
            elif row and options.on_error == "strict":
                problem = f"{len(row)} columns, the header has {len(header)}"
                raise DataError("data.bad_record", path=origin, line=rows.line_num, column=1, problem=problem)
            else:
                report.skipped += bool(row)
    except csv.Error as error:
        raise bad_line(origin, rows.line_num, error) from None


def _read_parquet(path: Path, options: SourceOptions, report: ReadReport) -> Iterator[Example]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("data.needs_extra", path=path, library="pyarrow", extra="data") from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = [_choose_field(name, file.schema_arrow.names) for name in options.fields]
        missing = [name for name in names if name not in file.schema_arrow.names]
        if missing:
            raise DataError(
                "data.no_column", path=path, given=missing[0], known=", ".join(file.schema_arrow.names)[:300]
            )
        number = 0
        for batch in file.iter_batches(batch_size=256, columns=names):
            for record in batch.to_pylist():
                number += 1
                try:
                    yield _from_record(record, f"{path}:{number}", options)
                except TypeError as error:
                    if options.on_error == "strict":
                        problem = str(error)
                        raise DataError("data.bad_record", path=path, line=number, column=1, problem=problem) from None
                    report.skipped += 1
    except pyarrow.ArrowException as error:
        raise DataError("data.unreadable", path=path, problem=str(error)[:200]) from None


def _read_hub(name: str, options: SourceOptions) -> Iterator[Example]:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("data.needs_extra", path=name, library="datasets", extra="data") from None
    name, _, split = name.partition(":")
    try:
        rows = datasets.load_dataset(name, split=split or "train", streaming=True)
        for number, record in enumerate(rows, start=1):
            yield _from_record(record, f"{name}:{number}", options)
    except (OSError, ValueError, TypeError) as error:  # what `datasets` raises offline and for unknown names
        raise DataError("data.hub_failed", path=name, problem=str(error)[:200]) from None
