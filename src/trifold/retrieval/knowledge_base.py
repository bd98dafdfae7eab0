"""A knowledge base on disk: passages with their places, found by words, by vectors, or by both.

runs/kb/
    index.sqlite    documents, passages, terms and triples
    vectors.bin     vectors of passages, where an embedder was given
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trifold.config import require
from trifold.data import SourceOptions
from trifold.errors import DataError, TrifoldError, UsageError
from trifold.retrieval.dense import Embedder, VectorFile
from trifold.retrieval.passage import Passage, terms_of
from trifold.retrieval.reading import Reading, read_documents
from trifold.retrieval.store import Store
from trifold.retrieval.texts import documents_of
from trifold.retrieval.writer import AddReport, Writer, check_embedder

__all__ = ["Hit", "KnowledgeBase", "fuse"]

FILE, VECTORS = "index.sqlite", "vectors.bin"
FUSION = 60
"""Constant of reciprocal rank fusion (Cormack et al. 2009)."""
LARGE = 10_000
"""From this number of passages on, words that most of them hold are not looked up: BM25 gives them no weight."""

Ranking = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Attributes:
        document: its document's name: a file, or a file and a row.
        title: of the document.
        passage: its text and its place in the document.
        score: higher is better; comparable within one search only.
        word_rank, vector_rank: its place in the search by words and by vectors, from 1; None where it was not found so.

    Example:
        >>> Hit("a.txt", "a", Passage("one", 0, 3), 1.5).document
        'a.txt'
    """

    document: str
    title: str
    passage: Passage
    score: float
    word_rank: int | None = None
    vector_rank: int | None = None


class KnowledgeBase:
    """Passages of documents, and triples; many threads may use it at once.

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
        >>> KnowledgeBase.from_texts(["The Nile is a river.", "Paris is a city."]).search("city")[0].passage.text
        'Paris is a city.'
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / FILE).is_file():
            raise DataError("retrieval.none", path=folder)
        self._store = Store(self.folder / FILE)
        self._base = self._store.base
        self._places: tuple[object, NDArray[np.int64]] = (None, np.zeros(0, np.int64))
        self._verified: tuple[str, str] | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "KnowledgeBase":
        """The knowledge base in a folder.

        Raises:
            DataError: there is none, or its file is damaged.
        """
        return cls(folder)

    @classmethod
    def build(
        cls,
        paths: Sequence[str | Path],
        out: str | Path,
        *,
        embedder: Embedder | None = None,
        columns: Sequence[str] = (),
        options: SourceOptions | None = None,
    ) -> tuple["KnowledgeBase", AddReport]:
        """Make a knowledge base from files and folders; it appears when it is whole.

        Args:
            paths: files of text, tables, web pages, docx and pdf documents, or folders of these.
            out: its folder; must not exist.
            embedder: gives vectors to the passages; None for a lexical index only.
            columns: of subject, relation and object in tables of triples; none: found by their usual names.
            options: encoding of the files, and what is done with damage in them.

        Raises:
            UsageError: `out` exists.
            DataError: there is nothing to read.
            StorageError: the disk is full or fails; nothing is left behind.
        """

        def fill(base: "KnowledgeBase") -> AddReport:
            return base.add(paths, embedder=embedder, columns=columns, options=options)

        return cls._make(Path(out), fill, DataError("retrieval.empty", path=", ".join(map(str, paths)) or "-"))

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str | Mapping[str, str]],
        out: str | Path | None = None,
        *,
        embedder: Embedder | None = None,
    ) -> "KnowledgeBase":
        """Make a knowledge base from texts that a program holds; no file is needed.

        Args:
            texts: each a text, or a mapping with `text` and, if there are, `title` and `source` (the name by which an
                answer says where it stands).
            out: its folder; must not exist. None: it is gone with the object.
            embedder: as for `build`.

        Raises:
            UsageError: `out` exists, `texts` is one text, or a mapping has other keys.
            DataError: there is no text, or a document has none.
            StorageError: the disk is full or fails; nothing is left behind.
        """

        def fill(base: "KnowledgeBase") -> AddReport:
            return base.add_texts(texts, embedder=embedder)

        empty = DataError("retrieval.no_texts")
        if out is not None:
            return cls._make(Path(out), fill, empty)[0]
        home = Path(tempfile.mkdtemp(prefix="trifold-"))
        try:
            base, _ = cls._make(home / "kb", fill, empty)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        weakref.finalize(base, shutil.rmtree, home, ignore_errors=True)
        return base

    @classmethod
    def _make(
        cls, out: Path, fill: Callable[["KnowledgeBase"], AddReport], empty: TrifoldError
    ) -> tuple["KnowledgeBase", AddReport]:
        """A knowledge base that appears when it is filled; `empty` is raised where there was nothing to fill it with."""
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError("cli.folder_exists", path=out)
        working = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        try:
            Store(working / FILE, new=True).base.close()
            made = cls(working)
            report = fill(made)
            made.close()
            if not report.added and not report.triples:
                raise empty
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
        with self._store.reading():
            return self._base.execute("SELECT count(*) FROM passages").fetchone()[0]

    def add(
        self,
        paths: Sequence[str | Path],
        *,
        embedder: Embedder | None = None,
        columns: Sequence[str] = (),
        options: SourceOptions | None = None,
        prune: bool = False,
    ) -> AddReport:
        """Add documents; those whose content is known are passed over, changed ones are replaced.

        All of it happens, or none.

        Args:
            paths: as for `build`.
            embedder: as for `build`.
            columns: as for `build`.
            options: as for `build`.
            prune: take out the documents and triples that were once read from these paths and are there no longer.

        Raises:
            DataError: a path does not exist, another process is writing, or the embedder is not the one of the vectors
                that are there.
            StorageError: the disk is full or fails.
        """
        report, reading = (
            AddReport(),
            Reading(columns=tuple(columns), home=self.folder, options=options or SourceOptions()),
        )
        with self._store.transaction():
            writer = Writer(self._store, report)
            writer.add(read_documents(paths, reading))
            if prune:
                writer.prune([Path(path) for path in paths], reading.unread)
            if embedder is not None:
                writer.embed(embedder, self.folder / VECTORS)
            self._store.note(passages=len(self))
        report.skipped = reading.skipped
        report.account, report.told = reading.report.to_json(), reading.report.lines()
        return report

    def add_texts(self, texts: Iterable[str | Mapping[str, str]], *, embedder: Embedder | None = None) -> AddReport:
        """Add texts, as `from_texts` takes them; all of them, or none. One whose source is known takes its place.

        Raises:
            UsageError, DataError, StorageError: as `from_texts` and `add`.
        """
        report = AddReport()
        with self._store.transaction():
            writer = Writer(self._store, report)
            writer.add(documents_of(texts))
            if embedder is not None:
                writer.embed(embedder, self.folder / VECTORS)
            self._store.note(passages=len(self))
        return report

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        embedder: Embedder | None = None,
        by: Literal["auto", "words", "vectors", "both"] = "auto",
    ) -> list[Hit]:
        """The passages that fit a query best, best first; none for a query without words.

        Words are ranked by BM25 (Robertson and Zaragoza 2009) with k1 = 1.2 and b = 0.75, SQLite's constants.

        Args:
            query: what to look for, in plain words.
            k: how many passages.
            embedder: the one that gave the passages their vectors; needed for vectors.
            by: words (BM25), vectors (inner product), or both by reciprocal rank fusion; `auto`: both where an embedder
                is given, else words.

        Raises:
            UsageError: a search by vectors where there are none.
            DataError: the files are damaged, or the vectors are another embedder's.
        """
        require(isinstance(query, str), where="query", given=type(query).__name__, allowed="a text (str)")
        require(isinstance(k, int), where="k", given=k, allowed="a whole number")
        by = ("both" if embedder is not None else "words") if by == "auto" else by
        wide = max(4 * k, 50) if by == "both" else k
        if k < 1 or not terms_of(query):
            return []
        with self._store.reading():
            words = self._by_words(query, wide) if by != "vectors" else []
            vectors = self._by_vectors(query, wide, embedder) if by != "words" else []
            ranked = fuse([words, vectors])[:k] if by == "both" else words or vectors
            places = [{number: rank for rank, (number, _) in enumerate(one, start=1)} for one in (words, vectors)]
            return [self._hit(number, score, *(one.get(number) for one in places)) for number, score in ranked]

    def _by_words(self, query: str, k: int) -> Ranking:
        terms = list(dict.fromkeys(terms_of(query)))
        total = int(self._store.facts().get("passages", 0))
        if total > LARGE:
            terms = [term for term in terms if 2 * self._frequency(term) < total] or terms
        asked = " OR ".join(f'"{term}"' for term in terms)  # terms hold letters and digits only: nothing to escape
        rows = self._base.execute(
            "SELECT rowid, bm25(terms) FROM terms WHERE terms MATCH ? ORDER BY bm25(terms), rowid LIMIT ?", (asked, k)
        )
        return [(place, -score) for place, score in rows]

    def _frequency(self, term: str) -> int:
        found = self._base.execute("SELECT doc FROM vocabulary WHERE term = ?", (term,)).fetchone()
        return found[0] if found else 0

    def _by_vectors(self, query: str, k: int, embedder: Embedder | None) -> Ranking:
        facts = self._store.facts()
        if embedder is None or "vectors" not in facts:
            raise UsageError("retrieval.no_vectors", path=self.folder)
        count, width, checksum = (int(facts[name]) for name in ("vectors", "width", "checksum"))
        check_embedder(self.folder, facts, embedder.name, width)
        vector = embedder.embed([query], query=True)[0]
        check_embedder(self.folder, facts, embedder.name, len(vector))
        file = VectorFile(self.folder / VECTORS, width=width, count=count, checksum=checksum)
        if self._verified != (facts["vectors"], facts["checksum"]):
            file.verify()
            self._verified = (facts["vectors"], facts["checksum"])
        passage_of = self._passages_of_vectors(count)
        found = file.nearest(vector, k, passage_of >= 0)
        return [(int(passage_of[number]), score) for number, score in found]

    def _passages_of_vectors(self, count: int) -> NDArray[np.int64]:
        """The passage of each vector, -1 for those whose passage is gone; [N]."""
        state = self._store.state
        if self._places[0] != state:
            table = np.full(count, -1, np.int64)
            rows = self._base.execute("SELECT vector, id FROM passages WHERE vector IS NOT NULL").fetchall()
            pairs = np.array(rows, np.int64).reshape(-1, 2)
            table[pairs[:, 0]] = pairs[:, 1]
            self._places = (state, table)
        return self._places[1]

    def _hit(self, number: int, score: float, word_rank: int | None = None, vector_rank: int | None = None) -> Hit:
        name, title, text, start, stop = self._base.execute(
            "SELECT name, title, text, start, stop FROM passages JOIN documents ON documents.id = document "
            "WHERE passages.id = ?",
            (number,),
        ).fetchone()
        return Hit(name, title, Passage(text, start, stop), score, word_rank, vector_rank)

    def passages(self) -> Iterator[Hit]:
        """All passages, in order."""
        with self._store.reading():
            numbers = self._base.execute("SELECT id FROM passages ORDER BY id").fetchall()
        for (number,) in numbers:
            with self._store.reading():
                hit = self._hit(number, 0.0)
            yield hit

    def subjects(self, names: Iterable[str]) -> Mapping[str, list[str]]:
        """Subjects of triples by those of the names that they are called by."""
        subjects: dict[str, list[str]] = {}
        with self._store.reading():
            for name in names:
                rows = self._base.execute("SELECT subject FROM names WHERE name = ?", (name,)).fetchall()
                if rows:
                    subjects[name] = [subject for (subject,) in rows]
        return subjects

    def triples(self, subject: str) -> list[tuple[str, str]]:
        """Relations and objects of a subject."""
        with self._store.reading():
            rows: list[Any] = self._base.execute(
                "SELECT relation, object FROM triples WHERE subject = ? GROUP BY relation, object ORDER BY min(rowid)",
                (subject,),
            ).fetchall()
        return [(relation, value) for relation, value in rows]


def fuse(rankings: Sequence[Ranking]) -> Ranking:
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
