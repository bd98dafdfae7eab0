"""Vectors of passages on disk, mapped into memory and appended to.

Axes: N vectors, D width.
"""

import os
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
    """

    name: str

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text."""
        ...


class VectorFile:
    """Float32 vectors one after another; how many of them count is for the caller to remember.

    Args:
        path: the file.
        width: numbers in a vector.
        count: how many vectors it must hold; what lies behind them is left from a write that was cut off.

    Raises:
        DataError: the file is missing or too short.
    """

    def __init__(self, path: Path, *, width: int, count: int) -> None:
        size = path.stat().st_size if path.is_file() else 0
        if size < 4 * width * count:
            raise DataError("retrieval.short_vectors", path=path, size=size, needed=4 * width * count)
        self.path, self.width, self.count = path, width, count

    def append(self, vectors: NDArray[np.float32]) -> int:
        """Write further vectors behind the last that counts; give how many there are then."""
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.seek(4 * self.width * self.count)
            file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self.count += len(vectors)
        return self.count

    def nearest(self, query: NDArray[np.float32], k: int, alive: NDArray[np.bool_]) -> list[tuple[int, float]]:
        """Numbers and products of the `k` vectors that are most like the query, among those that are alive."""
        if not self.count:
            return []
        table = np.memmap(self.path, "<f4", mode="r", shape=(self.count, self.width))
        found: list[tuple[int, float]] = []
        for start in range(0, self.count, BLOCK):
            scores = table[start : start + BLOCK] @ query
            scores[~alive[start : start + BLOCK]] = -np.inf
            best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
            found += [(start + int(number), float(scores[number])) for number in best if np.isfinite(scores[number])]
        return sorted(found, key=lambda one: (-one[1], one[0]))[:k]
