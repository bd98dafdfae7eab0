"""Documents and triples from the files of a knowledge base."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trifold.data import SourceOptions, read
from trifold.data.file import split_suffix
from trifold.data.rows import read_rows
from trifold.data.source import ReadReport, list_files
from trifold.errors import DataError

__all__ = ["Document", "Reading", "read_documents"]

TABLES = {".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"}
TEXT = ("text", "content", "body", "context", "passage", "answer", "abstract")
TITLE = ("title", "heading", "field", "question", "name", "id")
TRIPLE = (
    ("subject", "entity", "head"),
    ("relation", "predicate", "attribute", "property"),
    ("object", "value", "tail"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a name and a title.

    Example:
        >>> Document("a.txt", "a", "Some text.").title
        'a'
    """

    name: str
    title: str
    text: str


@dataclass(slots=True)
class Reading:
    """Files that could not be read, with the reason."""

    skipped: list[str] = field(default_factory=list)


def read_documents(paths: Sequence[str | Path], reading: Reading) -> Iterator[Document | tuple[str, str, str]]:
    """Documents, and triples of tables with such columns; unreadable files of a folder are noted and passed over.

    Raises:
        DataError: a path does not exist, or a file that was named itself cannot be read.
    """
    for path in paths:
        place = Path(path)
        if place.is_dir():
            report = ReadReport()
            for file in list_files(place, report):
                try:
                    yield from _read_file(file, str(file.relative_to(place)))
                except DataError as error:
                    reading.skipped.append(str(error))
            reading.skipped += report.ignored_files
        elif place.is_file():
            yield from _read_file(place, place.name)
        else:
            raise DataError("data.no_such_path", path=path)


def _read_file(file: Path, name: str) -> Iterator[Document | tuple[str, str, str]]:
    if split_suffix(file.name)[0] in TABLES:
        yield from _read_table(file, name)
        return
    parts = [example.texts[0] for example in read([str(file)], SourceOptions())]
    text = "".join(parts)
    if text.strip():
        yield Document(name, _title(text, file), text)


def _title(text: str, file: Path) -> str:
    """A first heading, else the file's name without its endings."""
    first = text.lstrip().split("\n", 1)[0]
    return first.lstrip("# ").strip() if first.startswith("#") else file.name.split(".")[0].replace("_", " ")


def _read_table(file: Path, name: str) -> Iterator[Document | tuple[str, str, str]]:
    columns: tuple[str, ...] | None = None
    seen: set[str] = set()
    for number, row in enumerate(read_rows(file), start=1):
        if columns is None:
            columns = _triple_columns(row.values)
        if columns:
            subject, relation, value = (str(row.values.get(column, "")).strip() for column in columns)
            if subject and relation and value:
                yield subject, relation, value
        else:
            text = next((str(row.values[key]) for key in TEXT if row.values.get(key)), "")
            titles = [
                str(row.values[key]) for key in ("country", "section", *TITLE) if row.values.get(key) and key != "id"
            ]
            if text.strip():
                label = str(row.values.get("id") or number)
                label = f"{label}#{number}" if label in seen else label  # ids that stand twice
                seen.add(label)
                yield Document(f"{name}:{label}", " · ".join(dict.fromkeys(titles)), text)


def _triple_columns(values: Mapping[str, Any]) -> tuple[str, ...]:
    found = [next((name for name in names if name in values), "") for names in TRIPLE]
    return tuple(found) if all(found) else ()
