"""Vectors of passages on disk, mapped into memory and appended to.

Axes: N vectors, D width.
"""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trifold.errors import DataError

__all__ = ["Embedder", "VectorFile"]

BLOCK = 65_536


@runtime_checkable
class Embedder(Protocol):
    """Texts to unit vectors.

    Attributes:
        name: changes whenever the vectors would.

    Example:
        >>> class Constant:
        ...     name = "constant"
        ...     def embed(self, texts, *, query=False):
        ...         return np.ones((len(texts), 1), np.float32)
        >>> isinstance(Constant(), Embedder)
        True
    """

    name: str

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """One vector a text, [texts, D]; `query` says that they are questions, not passages."""
        ...


class VectorFile:
    """Float32 vectors one after another; how many of them count is for the caller to remember.

    Args:
        path: the file.
        width: D.
        count: N that it must hold; what lies behind them is left from a write that was cut off.
        checksum: CRC-32 of these N, as `append` left it.

    Raises:
        DataError: the file is missing or too short.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = VectorFile(Path(folder) / "vectors.bin", width=2, count=0)
        ...     _ = file.append(np.eye(2, dtype=np.float32))
        ...     file.nearest(np.array([0, 1], np.float32), 1, np.array([True, True]))
        ([(1, 1.0)], 0.5)
    """

    def __init__(self, path: Path, *, width: int, count: int, checksum: int = 0) -> None:
        size = path.stat().st_size if path.is_file() else 0
        if size < 4 * width * count:
            raise DataError("retrieval.short_vectors", path=path, size=size, needed=4 * width * count)
        self.path, self.width, self.count, self.checksum = path, width, count, checksum

    def append(self, vectors: NDArray[np.float32]) -> int:
        """Write further vectors behind the last that counts, [M, D]; give how many there are then."""
        written = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.seek(4 * self.width * self.count)
            file.write(written)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self.count += len(vectors)
        self.checksum = zlib.crc32(written, self.checksum)
        return self.count

    def verify(self) -> None:
        """Compare the vectors with their checksum.

        Raises:
            DataError: they are not what was written.
        """
        checksum = 0
        table = self._table()
        for start in range(0, self.count, BLOCK):
            checksum = zlib.crc32(table[start : start + BLOCK].tobytes(), checksum)
        if checksum != self.checksum:
            raise DataError("retrieval.damaged_vectors", path=self.path)

    def nearest(
        self, query: NDArray[np.float32], k: int, alive: NDArray[np.bool_]
    ) -> tuple[list[tuple[int, float]], float]:
        """Numbers and products of the `k` vectors most like the query, among those alive; and the mean product of these.

        Args:
            query: [D].
            k: how many.
            alive: [N].
        """
        table = self._table()
        candidates: list[tuple[int, float]] = []
        total = 0.0
        for start in range(0, self.count, BLOCK):
            scores = table[start : start + BLOCK] @ query
            total += float(scores[alive[start : start + BLOCK]].sum())
            scores[~alive[start : start + BLOCK]] = -np.inf
            best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
            candidates += [
                (start + int(number), float(scores[number])) for number in best if np.isfinite(scores[number])
            ]
        ordered = sorted(candidates, key=lambda candidate: (-candidate[1], candidate[0]))
        return ordered[:k], total / max(int(alive.sum()), 1)

    def _table(self) -> NDArray[np.float32]:
        if not self.count:
            return np.zeros((0, self.width), np.float32)
        return np.memmap(self.path, "<f4", mode="r", shape=(self.count, self.width))
