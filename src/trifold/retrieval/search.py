"""Passages by words and by vectors: what looks into the files of a knowledge base."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trifold.errors import UsageError
from trifold.retrieval.dense import Embedder, VectorFile
from trifold.retrieval.fusion import Ranking
from trifold.retrieval.passage import terms_of
from trifold.retrieval.store import Store
from trifold.retrieval.writer import check_embedder

__all__ = ["DEPTH", "Searcher"]

DEPTH = 200
"""How far down either ranking is looked before they are made one."""
LARGE = 10_000
"""From this number of passages on, words that most of them hold are not looked up: BM25 gives them no weight."""


class Searcher:
    """Ranks the passages of a store; within its `reading` or `transaction` only.

    Args:
        store: with passages and terms.
        vectors: file of the vectors.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = Store(Path(folder) / "index.sqlite", new=True)
        ...     Searcher(store, Path(folder) / "vectors.bin").by_words("nile", 5)
        []
    """

    def __init__(self, store: Store, vectors: Path) -> None:
        self._store, self._base, self._path = store, store.base, vectors
        self._places: tuple[object, NDArray[np.int64]] = (None, np.zeros(0, np.int64))
        self._verified: tuple[str, str] | None = None

    def by_words(self, query: str, k: int) -> Ranking:
        """The best `k` by BM25 (Robertson and Zaragoza 2009) with k1 = 1.2 and b = 0.75, SQLite's constants."""
        terms = list(dict.fromkeys(terms_of(query)))
        if not terms:
            return []
        total = int(self._store.facts().get("passages", 0))
        if total > LARGE:
            terms = [term for term in terms if 2 * self._frequency(term) < total] or terms
        asked = " OR ".join(f'"{term}"' for term in terms)  # terms hold letters and digits only: nothing to escape
        rows = self._base.execute(
            "SELECT rowid, bm25(terms) FROM terms WHERE terms MATCH ? ORDER BY bm25(terms), rowid LIMIT ?", (asked, k)
        )
        return [(place, -score) for place, score in rows]

    def _frequency(self, term: str) -> int:
        row = self._base.execute("SELECT doc FROM vocabulary WHERE term = ?", (term,)).fetchone()
        return row[0] if row else 0

    def embedded(self, query: str, embedder: Embedder | None) -> NDArray[np.float32]:
        """The vector of a query, [D].

        Raises:
            UsageError: there is no embedder, or the base has no vectors.
            DataError: the base's vectors are another embedder's.
        """
        facts = self._store.facts()
        if embedder is None or "vectors" not in facts:
            raise UsageError("retrieval.no_vectors", path=self._path.parent)
        check_embedder(self._path.parent, facts, embedder.name, int(facts["width"]))
        vector = embedder.embed([query], query=True)[0]
        check_embedder(self._path.parent, facts, embedder.name, len(vector))
        return vector

    def by_vectors(self, query: NDArray[np.float32], k: int) -> tuple[Ranking, float]:
        """The best `k` by the product with a query's vector, and the mean product over the base.

        Args:
            query: [D].
            k: how many.

        Raises:
            DataError: the vectors are damaged.
        """
        facts = self._store.facts()
        count, width, checksum = (int(facts[name]) for name in ("vectors", "width", "checksum"))
        file = VectorFile(self._path, width=width, count=count, checksum=checksum)
        if self._verified != (facts["vectors"], facts["checksum"]):
            file.verify()
            self._verified = (facts["vectors"], facts["checksum"])
        passage_of = self._passages_of_vectors(count)
        nearest, mean = file.nearest(query, k, passage_of >= 0)
        return [(int(passage_of[number]), score) for number, score in nearest], mean

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
