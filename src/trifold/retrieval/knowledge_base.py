"""A knowledge base on disk: passages with their places, found by words, by vectors, or by both.

runs/kb/
    index.sqlite    documents, passages, terms and triples
    vectors.bin     vectors of passages, where an embedder was given
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trifold.errors import DataError, UsageError
from trifold.retrieval.dense import Embedder, VectorFile
from trifold.retrieval.passage import Passage, split_passages, terms_of
from trifold.retrieval.reading import Document, Reading, read_documents

__all__ = ["AddReport", "Hit", "KnowledgeBase"]

FILE, VECTORS = "index.sqlite", "vectors.bin"
FUSION = 60
"""Constant of reciprocal rank fusion (Cormack et al. 2009)."""
SCHEMA = """
CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, title TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
                       text TEXT NOT NULL, vector INTEGER);
CREATE INDEX passages_of ON passages (document);
CREATE VIRTUAL TABLE terms USING fts5 (body, content='', tokenize="unicode61 remove_diacritics 0");
CREATE TABLE triples (subject TEXT NOT NULL, relation TEXT NOT NULL, object TEXT NOT NULL,
                      UNIQUE (subject, relation, object));
CREATE TABLE names (name TEXT NOT NULL, subject TEXT NOT NULL, UNIQUE (name, subject));
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Attributes:
        document: its document's name: a file, or a file and a row.
        title: of the document.
        passage: its text and its place in the document.
        score: higher is better; comparable within one search only.
    """

    document: str
    title: str
    passage: Passage
    score: float


@dataclass(slots=True)
class AddReport:
    """What `add` did with each document it met.

    Attributes:
        added, replaced, unchanged: numbers of documents.
        triples: number of triples that are new.
        skipped: files that could not be read, with the reason.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    triples: int = 0
    skipped: list[str] = field(default_factory=list)


class KnowledgeBase:
    """Passages of documents, and triples.

    Args:
        folder: where `build` put it.

    Raises:
        DataError: there is none, or its file is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     _ = (Path(place) / "a.txt").write_text("The Nile is a river.", encoding="utf-8")
        ...     base, report = KnowledgeBase.build([place], Path(place) / "kb")
        ...     base.search("nile rivers")[0].passage.text
        'The Nile is a river.'
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / FILE).is_file():
            raise DataError("retrieval.none", path=folder)
        self._base = sqlite3.connect(self.folder / FILE)
        try:
            self._base.execute("PRAGMA mmap_size = 268435456")
            self._facts: dict[str, str] = dict(self._base.execute("SELECT name, value FROM facts"))
        except sqlite3.DatabaseError as error:
            raise DataError("data.unreadable", path=self.folder / FILE, problem=str(error)) from None

    @classmethod
    def build(
        cls, paths: Sequence[str | Path], out: str | Path, *, embedder: Embedder | None = None
    ) -> tuple["KnowledgeBase", AddReport]:
        """Make a knowledge base from files and folders; it appears when it is whole.

        Args:
            paths: txt, md, rst, jsonl, csv, tsv, parquet, or folders of these.
            out: its folder; must not exist.
            embedder: gives vectors to the passages; None for a lexical index only.

        Raises:
            UsageError: `out` exists.
            DataError: there is nothing to read.
        """
        out = Path(out)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError("cli.folder_exists", path=out)
        working = out.with_name(f"{out.name}.tmp")
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        try:
            with sqlite3.connect(working / FILE) as base:
                base.executescript(SCHEMA)
            base.close()
            made = cls(working)
            report = made.add(paths, embedder=embedder)
            made.close()
            if not report.added and not report.triples:
                raise DataError("retrieval.empty", path=", ".join(map(str, paths)))
            if out.exists():
                out.rmdir()
            working.rename(out)
        finally:
            shutil.rmtree(working, ignore_errors=True)
        return cls(out), report

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def __len__(self) -> int:
        return self._base.execute("SELECT count(*) FROM passages").fetchone()[0]

    def add(self, paths: Sequence[str | Path], *, embedder: Embedder | None = None) -> AddReport:
        """Add documents; those whose content is known are passed over, changed ones are replaced.

        All of it happens, or none.

        Raises:
            DataError: a path does not exist, or the embedder is not the one of the vectors that are there.
        """
        report, reading = AddReport(), Reading()
        try:
            with self._base:
                for found in read_documents(paths, reading):
                    if isinstance(found, Document):
                        self._add_document(found, report)
                    else:
                        report.triples += self._add_triple(*found)
                self._embed(embedder)
        except sqlite3.DatabaseError as error:
            raise DataError("data.unreadable", path=self.folder / FILE, problem=str(error)) from None
        report.skipped = reading.skipped
        return report

    def _add_document(self, document: Document, report: AddReport) -> None:
        digest = hashlib.sha256(f"{document.title}\0{document.text}".encode("utf-8", "surrogatepass")).hexdigest()
        known = self._base.execute("SELECT id, digest FROM documents WHERE name = ?", (document.name,)).fetchone()
        if known is not None and known[1] == digest:
            report.unchanged += 1
            return
        if known is not None:
            self._remove(known[0])
        report.replaced += known is not None
        report.added += known is None
        values = (document.name, document.title, digest)
        number = self._base.execute("INSERT INTO documents (name, title, digest) VALUES (?, ?, ?)", values).lastrowid
        for part in split_passages(document.text):
            row = (number, part.start, part.end, part.text)
            place = self._base.execute(
                "INSERT INTO passages (document, start, stop, text) VALUES (?, ?, ?, ?)", row
            ).lastrowid
            body = _body(document.title, part.text)
            self._base.execute("INSERT INTO terms (rowid, body) VALUES (?, ?)", (place, body))

    def _remove(self, document: int) -> None:
        (title,) = self._base.execute("SELECT title FROM documents WHERE id = ?", (document,)).fetchone()
        rows = self._base.execute("SELECT id, text FROM passages WHERE document = ?", (document,)).fetchall()
        for place, text in rows:
            values = (place, _body(title, text))
            self._base.execute("INSERT INTO terms (terms, rowid, body) VALUES ('delete', ?, ?)", values)
        self._base.execute("DELETE FROM passages WHERE document = ?", (document,))
        self._base.execute("DELETE FROM documents WHERE id = ?", (document,))

    def _add_triple(self, subject: str, relation: str, value: str) -> int:
        done = self._base.execute("INSERT OR IGNORE INTO triples VALUES (?, ?, ?)", (subject, relation, value))
        for name in names_of(subject):
            self._base.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (name, subject))
        return done.rowcount

    def _embed(self, embedder: Embedder | None) -> None:
        """Give vectors to the passages that have none."""
        if embedder is None:
            return
        self._check(embedder)
        rows = self._base.execute(
            "SELECT passages.id, title, text FROM passages JOIN documents ON documents.id = document WHERE vector IS NULL"
        ).fetchall()
        count = int(self._facts.get("vectors", 0))
        for start in range(0, len(rows), 512):
            part = rows[start : start + 512]
            vectors = embedder.embed([f"{title}\n{text}" for _, title, text in part])
            file = VectorFile(self.folder / VECTORS, width=vectors.shape[1], count=count)
            places = [(count + number, row[0]) for number, row in enumerate(part)]
            self._base.executemany("UPDATE passages SET vector = ? WHERE id = ?", places)
            count = file.append(vectors)
            self._note(embedder=embedder.name, width=vectors.shape[1], vectors=count)

    def _check(self, embedder: Embedder) -> None:
        known = self._facts.get("embedder")
        if known is not None and known != embedder.name:
            raise DataError("retrieval.other_embedder", path=self.folder, given=embedder.name, known=known)

    def _note(self, **facts: object) -> None:
        for name, value in facts.items():
            self._base.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, str(value)))
            self._facts[name] = str(value)

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        embedder: Embedder | None = None,
        by: Literal["auto", "words", "vectors", "both"] = "auto",
    ) -> list[Hit]:
        """The passages that fit a query best, best first; none for a query without words.

        Args:
            query: what to look for, in plain words.
            k: how many passages.
            embedder: the one that gave the passages their vectors; needed for vectors.
            by: words (BM25), vectors (inner product), or both by reciprocal rank fusion; `auto`: both where an embedder
                is given, else words.
        """
        by = ("both" if embedder is not None else "words") if by == "auto" else by
        if by == "words":
            ranked = self._by_words(query, k)
        elif by == "vectors":
            ranked = self._by_vectors(query, k, embedder)
        else:
            wide = max(4 * k, 50)
            ranked = fuse([self._by_words(query, wide), self._by_vectors(query, wide, embedder)])[:k]
        return self._hits(ranked)

    def _by_words(self, query: str, k: int) -> list[tuple[int, float]]:
        terms = list(dict.fromkeys(terms_of(query)))
        if not terms:
            return []
        asked = " OR ".join(f'"{term}"' for term in terms)
        rows = self._base.execute(
            "SELECT rowid, bm25(terms) FROM terms WHERE terms MATCH ? ORDER BY bm25(terms), rowid LIMIT ?", (asked, k)
        )
        return [(place, -score) for place, score in rows]

    def _by_vectors(self, query: str, k: int, embedder: Embedder | None) -> list[tuple[int, float]]:
        if embedder is None or "vectors" not in self._facts:
            raise UsageError("retrieval.no_vectors", path=self.folder)
        if not terms_of(query):
            return []
        self._check(embedder)
        count, width = int(self._facts["vectors"]), int(self._facts["width"])
        passage_of = dict(self._base.execute("SELECT vector, id FROM passages WHERE vector IS NOT NULL"))
        alive = np.zeros(count, dtype=np.bool_)
        alive[list(passage_of)] = True
        file = VectorFile(self.folder / VECTORS, width=width, count=count)
        found = file.nearest(embedder.embed([query])[0], k, alive)
        return [(passage_of[number], score) for number, score in found]

    def _hits(self, ranked: Iterable[tuple[int, float]]) -> list[Hit]:
        hits = []
        for place, score in ranked:
            name, title, text, start, stop = self._base.execute(
                "SELECT name, title, text, start, stop FROM passages JOIN documents ON documents.id = document "
                "WHERE passages.id = ?",
                (place,),
            ).fetchone()
            hits.append(Hit(name, title, Passage(text, start, stop), score))
        return hits

    def passages(self) -> Iterator[Hit]:
        """All passages, in order."""
        for (place,) in self._base.execute("SELECT id FROM passages ORDER BY id").fetchall():
            yield from self._hits([(place, 0.0)])

    def subjects(self, names: Sequence[str]) -> Mapping[str, list[str]]:
        """Subjects of triples by those of the names that they are called by."""
        found: dict[str, list[str]] = {}
        for name in names:
            rows = self._base.execute("SELECT subject FROM names WHERE name = ?", (name,)).fetchall()
            if rows:
                found[name] = [subject for (subject,) in rows]
        return found

    def triples(self, subject: str) -> list[tuple[str, str]]:
        """Relations and objects of a subject."""
        rows: list[Any] = self._base.execute(
            "SELECT relation, object FROM triples WHERE subject = ? ORDER BY rowid", (subject,)
        ).fetchall()
        return [(relation, value) for relation, value in rows]


def fuse(rankings: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Reciprocal rank fusion: the sum over the rankings of 1 / (60 + rank).

    Example:
        >>> [number for number, _ in fuse([[(1, 9.0), (2, 8.0)], [(2, 0.9), (3, 0.8)]])]
        [2, 1, 3]
    """
    total: dict[int, float] = {}
    for ranking in rankings:
        for rank, (number, _) in enumerate(ranking, start=1):
            total[number] = total.get(number, 0.0) + 1 / (FUSION + rank)
    return sorted(total.items(), key=lambda one: (-one[1], one[0]))


def names_of(subject: str) -> list[str]:
    """What a subject of triples is called: its name, and the name without brackets and what stands in round ones.

    Example:
        >>> names_of("《红楼梦》（小说）")
        ['《红楼梦》（小说）', '红楼梦']
    """
    import re

    bare = re.sub(r"[(（][^)）]*[)）]", "", subject)
    bare = re.sub(r"[《》“”\"]", "", bare).strip()
    whole = subject.lower().strip()
    return list(dict.fromkeys(name for name in (whole, bare.lower()) if name))


def _body(title: str, text: str) -> str:
    return " ".join(terms_of(f"{title}\n{text}"))
