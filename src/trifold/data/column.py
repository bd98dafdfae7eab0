"""A file of numbers on disk."""

import weakref
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trifold.errors import DataError
from trifold.plain_file import sha256

__all__ = ["Column", "verify"]

BLOCK = 2**20


class Column:
    """A file of numbers, of which only what is asked for is read: the pages of a mapped file would count as memory.

    Args:
        path: of the file.
        dtype: of the numbers.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "numbers"
        >>> _ = place.write_bytes(np.arange(9, dtype=np.uint16).tobytes())
        >>> Column(place, np.dtype(np.uint16)).read(2, 5).tolist()
        [2, 3, 4]
    """

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.path, self.dtype = path, dtype
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)

    def read(self, start: int, stop: int) -> NDArray:
        """The numbers from `start` up to `stop`.

        Raises:
            DataError: the file has become shorter.
        """
        wanted = max(stop - start, 0) * self.dtype.itemsize
        self._file.seek(start * self.dtype.itemsize)
        data = self._file.read(wanted)
        if len(data) != wanted:
            raise DataError("data.store_damaged", path=self.path, problem=f"{wanted - len(data)} bytes are missing")
        return np.frombuffer(data, self.dtype)


def verify(path: Path, known: Mapping[str, object], dtype: np.dtype, vocab_size: int) -> None:
    """Compare a file with what the index says of it; token files must also hold ids of the vocabulary.

    Raises:
        DataError: it is missing, of another size or with other content, or an id is too large.
    """
    if not path.is_file() or path.stat().st_size != known["size"]:
        found = path.stat().st_size if path.is_file() else 0
        raise DataError("data.store_damaged", path=path, problem=f"{found} bytes, {known['size']} expected")
    if sha256(path) != known["sha256"]:
        raise DataError("data.store_damaged", path=path, problem="its sha256 is not the one in index.json")
    if path.name.endswith("tokens.bin") and path.stat().st_size:
        with path.open("rb") as file:
            blocks = iter(lambda: file.read(BLOCK * dtype.itemsize), b"")
            largest = max(int(np.frombuffer(block, dtype).max()) for block in blocks)
        if largest >= vocab_size:
            raise DataError("data.id_too_large", path=path, given=largest, vocab_size=vocab_size)
