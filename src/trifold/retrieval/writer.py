"""Documents and triples on their way into a knowledge base: what is new, what changed, what is gone."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trifold.errors import DataError
from trifold.retrieval.dense import Embedder, VectorFile
from trifold.retrieval.passage import names_of, split_passages, terms_of
from trifold.retrieval.reading import Document, Found, Table
from trifold.retrieval.store import Store

__all__ = ["AddReport", "Writer", "check_embedder"]

EMBEDDED_AT_ONCE = 512


@dataclass(slots=True)
class AddReport:
    """What `add` did with each document it met.

    Attributes:
        added, replaced, unchanged: numbers of documents.
        removed: number of documents that are gone from their folder and were taken out; see `prune`.
        triples: number of triples that are new.
        skipped: files that could not be read, with the reason.
        account: what was left out of the files that were read, as JSON data; `told` says it in sentences.

    Example:
        >>> AddReport(added=2).removed
        0
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0
    triples: int = 0
    skipped: list[str] = field(default_factory=list)
    account: dict[str, Any] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)


class Writer:
    """Brings one store up to date, within one transaction of it.

    Args:
        store: to write to.
        report: is told what happened.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store, report = Store(Path(folder) / "index.sqlite", new=True), AddReport()
        ...     with store.transaction():
        ...         Writer(store, report).add([Document("a", "/a", "", "Some text.")] * 2)
        ...     report.added, report.unchanged
        (1, 1)
    """

    def __init__(self, store: Store, report: AddReport) -> None:
        self.store, self.base, self.report = store, store.base, report
        self._seen: set[str] = set()
        self._table: int | None = None
        """The table whose triples are being written; None for one that did not change."""

    def add(self, entries: Iterable[Found]) -> None:
        """Write documents, and tables with their triples."""
        for entry in entries:
            match entry:
                case Document():
                    self._add_document(entry)
                case Table():
                    self._end_table()
                    self._begin_table(entry)
                case (subject, relation, value) if self._table is not None:
                    self._add_triple(subject, relation, value)
        self._end_table()

    def prune(self, roots: Sequence[Path], unread: Sequence[str]) -> None:
        """Take out what was once read from these files and folders and was not met this time.

        Args:
            roots: what was read.
            unread: files that are there but could not be read: what is known of them stays.
        """
        places, kept = [str(root.resolve()) for root in roots], tuple(unread)
        for number, source in self.base.execute("SELECT id, source FROM documents").fetchall():
            if source not in self._seen and _below(source, places) and not _below(source, kept):
                self._remove(number)
                self.report.removed += 1
        for number, source in self.base.execute("SELECT id, source FROM tables").fetchall():
            if source not in self._seen and _below(source, places) and not _below(source, kept):
                self.base.execute("UPDATE triples SET fresh = 0 WHERE origin = ?", (number,))
                self._sweep(number)
                self.base.execute("DELETE FROM tables WHERE id = ?", (number,))

    def embed(self, embedder: Embedder, path: Path) -> None:
        """Give vectors to the passages that have none.

        Raises:
            DataError: the vectors that are there are another embedder's, or damaged.
        """
        facts, last = self.store.facts(), -1
        count, checksum = int(facts.get("vectors", 0)), int(facts.get("checksum", 0))
        while rows := self.base.execute(
            "SELECT passages.id, title, text FROM passages JOIN documents ON documents.id = document "
            "WHERE vector IS NULL AND passages.id > ? ORDER BY passages.id LIMIT ?",
            (last, EMBEDDED_AT_ONCE),
        ).fetchall():
            last = rows[-1][0]
            vectors = embedder.embed([f"{title}\n{text}" for _, title, text in rows])
            width = vectors.shape[1]
            check_embedder(path, facts, embedder.name, width)
            file = VectorFile(path, width=width, count=count, checksum=checksum)
            places = [(count + number, row[0]) for number, row in enumerate(rows)]
            self.base.executemany("UPDATE passages SET vector = ? WHERE id = ?", places)
            count, checksum = file.append(vectors), file.checksum
            self.store.note(embedder=embedder.name, width=width, vectors=count, checksum=checksum)

    def _add_document(self, document: Document) -> None:
        content = f"{document.title}\0{document.text}".encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(content).hexdigest()
        self._seen.add(document.source)
        number, name, known = self._find(document)
        if known == digest:
            self.report.unchanged += 1
            return
        if number is not None:
            self._remove(number)
        self.report.replaced += number is not None
        self.report.added += number is None
        values = (name, document.source, document.title, digest)
        number = self.base.execute(
            "INSERT INTO documents (name, source, title, digest) VALUES (?, ?, ?, ?)", values
        ).lastrowid
        for passage in split_passages(document.text):
            row = (number, passage.start, passage.end, passage.text)
            place = self.base.execute(
                "INSERT INTO passages (document, start, stop, text) VALUES (?, ?, ?, ?)", row
            ).lastrowid
            values = (place, _body(document.title, passage.text))
            self.base.execute("INSERT INTO terms (rowid, body) VALUES (?, ?)", values)

    def _find(self, document: Document) -> tuple[int | None, str, str]:
        """The number that a document has, the name it goes by, and the digest it had."""
        known = self.base.execute(
            "SELECT id, name, digest FROM documents WHERE source = ?", (document.source,)
        ).fetchone()
        if known is not None:
            return known
        other = self.base.execute(
            "SELECT id, digest, source FROM documents WHERE name = ?", (document.name,)
        ).fetchone()
        if other is None:
            return None, document.name, ""
        number, digest, source = other
        row = document.name[len(document.name.split(":", 1)[0]) :]
        if source in self._seen or Path(source.removesuffix(row)).exists():
            return None, document.source, ""  # two of one name: the second goes by its whole path
        self.base.execute("UPDATE documents SET source = ? WHERE id = ?", (document.source, number))
        return number, document.name, digest  # its folder was moved

    def _remove(self, document: int) -> None:
        (title,) = self.base.execute("SELECT title FROM documents WHERE id = ?", (document,)).fetchone()
        rows = self.base.execute("SELECT id, text FROM passages WHERE document = ?", (document,)).fetchall()
        for place, text in rows:
            values = (place, _body(title, text))
            self.base.execute("INSERT INTO terms (terms, rowid, body) VALUES ('delete', ?, ?)", values)
        self.base.execute("DELETE FROM passages WHERE document = ?", (document,))
        self.base.execute("DELETE FROM documents WHERE id = ?", (document,))

    def _begin_table(self, table: Table) -> None:
        self._seen.add(table.source)
        known = self.base.execute("SELECT id, digest FROM tables WHERE source = ?", (table.source,)).fetchone()
        if known is None:
            values = (table.source, table.digest)
            self._table = self.base.execute("INSERT INTO tables (source, digest) VALUES (?, ?)", values).lastrowid
        elif known[1] != table.digest:
            self._table = known[0]
            self.base.execute("UPDATE tables SET digest = ? WHERE id = ?", (table.digest, self._table))
            self.base.execute("UPDATE triples SET fresh = 0 WHERE origin = ?", (self._table,))

    def _add_triple(self, subject: str, relation: str, value: str) -> None:
        key = (subject, relation, value, self._table)
        known = self.base.execute(
            "UPDATE triples SET fresh = 1 WHERE subject = ? AND relation = ? AND object = ? AND origin = ?", key
        )
        if known.rowcount:
            return
        self.base.execute("INSERT INTO triples VALUES (?, ?, ?, ?, 1)", key)
        self.report.triples += 1
        names = [(name, subject) for name in names_of(subject)]
        self.base.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", names)

    def _end_table(self) -> None:
        if self._table is not None:
            self._sweep(self._table)
        self._table = None

    def _sweep(self, table: int) -> None:
        """Take out the triples of a table that it has no longer, and the names of subjects that are no more."""
        gone = self.base.execute("DELETE FROM triples WHERE origin = ? AND fresh = 0", (table,)).rowcount
        if gone:
            self.base.execute("DELETE FROM names WHERE subject NOT IN (SELECT subject FROM triples)")


def check_embedder(path: Path, facts: dict[str, str], name: str, width: int) -> None:
    """Refuse an embedder that the vectors are not of.

    Raises:
        DataError: its name or its width is another.
    """
    known = (facts.get("embedder", name), int(facts.get("width", width)))
    if known != (name, width):
        given, wanted = f"{name} ({width})", f"{known[0]} ({known[1]})"
        raise DataError("retrieval.other_embedder", path=path, given=given, known=wanted)


def _below(source: str, places: Sequence[str]) -> bool:
    return any(source == place or source.startswith((place + os.sep, place + ":")) for place in places)


def _body(title: str, text: str) -> str:
    return " ".join(terms_of(f"{title}\n{text}"))
