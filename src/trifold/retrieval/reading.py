"""Documents and triples from the files of a knowledge base."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from trifold.data import ReadReport, SourceOptions, read
from trifold.data.column_name import plain_name
from trifold.data.format import find_format
from trifold.data.rows import file_digest, read_rows
from trifold.data.source import list_files
from trifold.errors import DataError, MissingExtraError

__all__ = ["Document", "Found", "Reading", "Table", "read_documents"]

TEXT = ("text", "content", "body", "context", "passage", "answer", "abstract")
TITLE = ("country", "section", "title", "heading", "field", "question", "name")
TRIPLE = (
    ("subject", "entity", "head"),
    ("relation", "predicate", "attribute", "property"),
    ("object", "value", "tail"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a name and a title.

    Attributes:
        name: file, or file and row, as people are shown it.
        source: the same with the whole path; two documents never share it.
        title: what it says about itself.
        text: all of it.

    Example:
        >>> Document("a.txt", "/notes/a.txt", "a", "Some text.").title
        'a'
    """

    name: str
    source: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose triples follow.

    Attributes:
        source: its whole path.
        digest: of its content.

    Example:
        >>> Table("/facts.tsv", "ab12").source
        '/facts.tsv'
    """

    source: str
    digest: str


Found = Document | Table | tuple[str, str, str]


@dataclass(slots=True)
class Reading:
    """How to read, and what could not be read.

    Attributes:
        columns: names of the columns of subject, relation and object; empty: found by their usual names.
        options: encoding of the files, and what is done with damage in them.
        home: folder of the knowledge base, passed over where it lies among the documents.
        report: is told what was left out of the files that were read.
        skipped: files left out, with the reason.
        unread: whole paths of those whose content could not be read.

    Example:
        >>> Reading().skipped
        []
    """

    columns: tuple[str, ...] = ()
    home: Path | None = None
    options: SourceOptions = SourceOptions()  # noqa: RUF009 - frozen
    report: ReadReport = field(default_factory=ReadReport)
    skipped: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def wants(self, file: str | Path) -> bool:
        """Whether a file is not one of the knowledge base itself."""
        return self.home is None or not Path(file).resolve().is_relative_to(self.home.resolve())


def read_documents(paths: Sequence[str | Path], reading: Reading) -> Iterator[Found]:
    r"""Documents, and tables with their triples; unreadable files of a folder are noted and passed over.

    Args:
        paths: files and folders.
        reading: how to read; is told what is left out.

    Raises:
        DataError: a path does not exist, or a file that was named itself cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     _ = (Path(place) / "a.md").write_text("# Rivers\n\nThe Nile.", encoding="utf-8")
        ...     [(one.name, one.title) for one in read_documents([place], Reading())]
        [('a.md', 'Rivers')]
    """
    for path in paths:
        place = Path(path)
        if place.is_dir():
            yield from _read_folder(place, reading)
        elif place.is_file():
            yield from _read_file(place, place.name, reading)
        else:
            raise DataError("data.no_such_path", path=path)


def _read_folder(folder: Path, reading: Reading) -> Iterator[Found]:
    report = ReadReport()
    for file in filter(reading.wants, list_files(folder, report)):
        try:
            yield from _read_file(file, str(file.relative_to(folder)), reading)
        except (DataError, MissingExtraError) as error:
            reading.skipped.append(str(error))
            reading.unread.append(str(file.resolve()))
    reading.skipped += [f"{file}: {why}" for file, why in report.ignored.items() if reading.wants(file)]


def _read_file(file: Path, name: str, reading: Reading) -> Iterator[Found]:
    form = find_format(file)
    if form is not None and form.text is None:
        yield from _read_table(file, name, reading)
        return
    parts = [example.texts[0] for example in read([str(file)], reading.options, reading.report)]
    text = "".join(parts)
    if text.strip():
        yield Document(name, str(file.resolve()), _title(text, file, titled=form is not None and form.titled), text)


def _title(text: str, file: Path, *, titled: bool) -> str:
    """A first heading, or the first line where a format begins with its title; else the file's name."""
    first = text.lstrip().split("\n", 1)[0]
    if first.startswith("#") or titled:
        return first.lstrip("# ").strip()
    return file.name.split(".")[0].replace("_", " ")


def _read_table(file: Path, name: str, reading: Reading) -> Iterator[Found]:
    rows = (row.values for row in read_rows(file, reading.options, reading.report))
    first = next(rows, None)
    if first is None:
        return
    columns = _triple_columns(first, reading.columns)
    if columns:
        triples = ([row.get(column, "") for column in columns] for row in chain([first], rows))
        yield from _read_triples(triples, file, reading.report)
    elif len(first) > 1 and not _named(first, TEXT):
        facts = _facts(chain([first], rows), tuple(first))
        yield from _read_triples(facts, file, reading.report)
        reading.report.facts[str(file)] = tuple(first)
    else:
        yield from _read_texts(chain([first], rows), file, name, reading.report)


def _read_triples(triples: Iterable[Sequence[Any]], file: Path, report: ReadReport) -> Iterator[Found]:
    yield Table(str(file.resolve()), file_digest(file))
    for triple in triples:
        subject, relation, value = ("" if part is None else str(part).strip() for part in triple)
        if subject and relation and value:
            yield subject, relation, value
        else:
            report.reasons["data.left_triple"] += 1


def _facts(rows: Iterable[Mapping[str, Any]], header: Sequence[str]) -> Iterator[Sequence[Any]]:
    """What a table without text says: each cell of a row is a fact about what its first cell names."""
    about, *others = header
    for row in rows:
        yield from ((row.get(about), name, row.get(name)) for name in others)


def _named(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The columns with one of these names, in English or Chinese, the most telling first."""
    return [column for name in names for column in row if plain_name(column) == name]


def _read_texts(rows: Iterable[Mapping[str, Any]], file: Path, name: str, report: ReadReport) -> Iterator[Document]:
    """A document a row, known by its id, or by its number where it has none."""
    seen: set[str] = set()
    read: set[str] = set()
    header: dict[str, None] = {}
    source, before = str(file.resolve()), None
    for number, row in enumerate(rows, start=1):
        key = next((key for key in _named(row, TEXT) if isinstance(row.get(key), str) and row[key].strip()), "")
        header.update(dict.fromkeys(row))
        read.add(key)
        if key and (key, row[key]) != before:  # the questions on a paragraph follow one another
            label = str(row.get("id") or number)
            label = f"{label}#{number}" if label in seen else label  # ids that stand twice
            seen.add(label)
            titles = (str(row[title]) for title in _named(row, TITLE) if row.get(title))
            yield Document(f"{name}:{label}", f"{source}:{label}", " · ".join(dict.fromkeys(titles)), row[key])
        report.reasons.update([] if key else ["data.left_field"])
        before = (key, row.get(key)) if plain_name(key) == "context" else None
    titles, texts = _named(header, TITLE), _named(header, TEXT)
    if not texts:
        raise DataError("retrieval.no_text", path=file, given=", ".join(header)[:200], known=", ".join(TEXT))
    report.texts[str(file)] = (*titles, *(text for text in texts if text in read))
    report.unused[str(file)] = tuple(key for key in header if key not in (*report.texts[str(file)], "id"))


def _triple_columns(row: Mapping[str, Any], given: tuple[str, ...]) -> tuple[str, ...]:
    if given:
        return given if all(name in row for name in given) else ()
    found = [next(iter(_named(row, names)), "") for names in TRIPLE]
    return tuple(found) if all(found) else ()
