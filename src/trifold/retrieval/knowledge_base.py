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

from trifold.config import require
from trifold.data import SourceOptions
from trifold.errors import DataError, TrifoldError, UsageError
from trifold.retrieval.dense import Embedder
from trifold.retrieval.fusion import fuse
from trifold.retrieval.passage import Passage, terms_of
from trifold.retrieval.reading import Reading, read_documents
from trifold.retrieval.search import DEPTH, Searcher
from trifold.retrieval.store import Store
from trifold.retrieval.texts import documents_of
from trifold.retrieval.weight import measure_weight
from trifold.retrieval.writer import AddReport, Writer

__all__ = ["Hit", "KnowledgeBase"]

FILE, VECTORS = "index.sqlite", "vectors.bin"


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
        self._searcher = Searcher(self._store, self.folder / VECTORS)

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
            self._store.note(passages=len(self))
            if embedder is not None:
                self._embed(writer, embedder)
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
            self._store.note(passages=len(self))
            if embedder is not None:
                self._embed(writer, embedder)
        return report

    def _embed(self, writer: Writer, embedder: Embedder) -> None:
        """Give vectors to passages that have none; measure again how much they count where a tenth of them is new."""
        writer.embed(embedder, self.folder / VECTORS)
        facts = self._store.facts()
        passages, weighed = int(facts["passages"]), int(facts.get("weighed", 0))
        if "vectors" in facts and abs(passages - weighed) * 10 > weighed:
            weight = measure_weight(self._store, self._searcher, embedder)
            self._store.note(vector_weight=weight, weighed=passages)

    @property
    def vector_weight(self) -> float | None:
        """How much vectors count in a search, from 0 to 1, as measured on the base's own passages; None before that."""
        with self._store.reading():
            weight = self._store.facts().get("vector_weight")
        return None if weight is None else float(weight)

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        embedder: Embedder | None = None,
        by: Literal["auto", "words", "vectors", "both"] = "auto",
        weight: float | None = None,
    ) -> list[Hit]:
        """The passages that fit a query best, best first; none for a query without words.

        Args:
            query: what to look for, in plain words.
            k: how many passages.
            embedder: the one that gave the passages their vectors; needed for vectors.
            by: words (BM25), vectors (inner product), or both (`fuse`); `auto`: both where an embedder is given, else
                words.
            weight: how much vectors count beside words, from 0 to 1; None: what was measured when they were made, and 0
                in a base of an earlier version, which measured nothing.

        Raises:
            UsageError: a search by vectors where there are none.
            DataError: the files are damaged, or the vectors are another embedder's.
        """
        require(isinstance(query, str), where="query", given=type(query).__name__, allowed="a text (str)")
        require(isinstance(k, int), where="k", given=k, allowed="a whole number")
        fits = weight is None or 0 <= weight <= 1
        require(fits, where="weight", given=weight, allowed="from 0 to 1, or None")
        by = ("both" if embedder is not None else "words") if by == "auto" else by
        if k < 1 or not terms_of(query):
            return []
        with self._store.reading():
            words = self._searcher.by_words(query, max(4 * k, DEPTH)) if by != "vectors" else []
            vectors, floor = [], 0.0
            if by != "words":
                vectors, floor = self._searcher.by_vectors(self._searcher.embedded(query, embedder), max(4 * k, DEPTH))
            share = float(self._store.facts().get("vector_weight", 0)) if weight is None else weight
            ranked = fuse(words, vectors, share, floor=floor) if by == "both" else words or vectors
            places = [{number: rank for rank, (number, _) in enumerate(some, start=1)} for some in (words, vectors)]
            return [self._hit(number, score, *(place.get(number) for place in places)) for number, score in ranked[:k]]

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
