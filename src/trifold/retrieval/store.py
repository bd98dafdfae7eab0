"""The one SQLite file of a knowledge base: its tables, its transactions, and what its failures mean."""

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trifold.errors import DataError, StorageError, TrifoldError

__all__ = ["Store"]

FORMAT = "2"
MAPPED_BYTES = 2**28
SCHEMA = """
CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, source TEXT UNIQUE NOT NULL,
                        title TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
                       text TEXT NOT NULL, vector INTEGER);
CREATE INDEX passages_of ON passages (document);
CREATE VIRTUAL TABLE terms USING fts5 (body, content='', tokenize="unicode61 remove_diacritics 0");
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (terms, row);
CREATE TABLE tables (id INTEGER PRIMARY KEY, source TEXT UNIQUE NOT NULL, digest TEXT NOT NULL);
CREATE TABLE triples (subject TEXT NOT NULL, relation TEXT NOT NULL, object TEXT NOT NULL, origin INTEGER NOT NULL,
                      fresh INTEGER NOT NULL, UNIQUE (subject, relation, object, origin));
CREATE INDEX triples_of ON triples (origin, fresh);
CREATE TABLE names (name TEXT NOT NULL, subject TEXT NOT NULL, UNIQUE (name, subject));
CREATE INDEX names_of ON names (subject);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}


class Store:
    """A connection to the file.

    Args:
        path: the file.
        new: make it.

    Attributes:
        base: the connection; changes are made within `transaction` only.

    Raises:
        DataError: the file is damaged, or of another version.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Store(Path(folder) / "index.sqlite", new=True).facts()
        {'format': '2'}
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self.path, self._lock = path, threading.RLock()
        with self.reading():
            self.base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)  # the lock sees to it
        weakref.finalize(self, self.base.close)
        with self.reading():
            self.base.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
            if new:
                self.base.executescript(SCHEMA)
                self.note(format=FORMAT)
            known = self.base.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone()
            given = self.facts().get("format", "1") if known else "0"
        if given != FORMAT:
            raise DataError("retrieval.version", path=path, given=given, known=FORMAT)

    def facts(self) -> dict[str, str]:
        """What is noted of the whole, as the file has it now."""
        return dict(self.base.execute("SELECT name, value FROM facts"))

    def note(self, **facts: object) -> None:
        """Note something of the whole."""
        for name, value in facts.items():
            self.base.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, str(value)))

    @property
    def state(self) -> tuple[int, int]:
        """Changes whenever the content does, by this connection or by another."""
        return self.base.execute("PRAGMA data_version").fetchone()[0], self.base.total_changes

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One thread at a time; turns SQLite's errors into ours.

        Raises:
            StorageError: the disk is full or fails.
            DataError: the file is damaged, or another process is writing it.
        """
        try:
            with self._lock:
                yield
        except sqlite3.DatabaseError as error:
            raise _explain(error, self.path) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within it happen, or none; one process at a time."""
        with self.reading():
            self.base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.base.execute("COMMIT")
            except BaseException:
                if self.base.in_transaction:  # SQLite rolls back by itself when the disk is full
                    self.base.execute("ROLLBACK")
                raise


def _explain(error: sqlite3.DatabaseError, path: Path) -> TrifoldError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in DISK:
        return StorageError("cli.disk", path=path, problem=str(error))
    if code == sqlite3.SQLITE_BUSY:
        return DataError("retrieval.busy", path=path)
    return DataError("data.unreadable", path=path, problem=str(error))
