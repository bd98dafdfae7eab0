"""One process a run: a lock that the system lets go of when its process ends, however it ends."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trifold.errors import UsageError

__all__ = ["locked"]

LOCK, HOLDER = ".lock", ".lock.json"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder; others who want it are told who has it.

    Args:
        folder: must exist.

    Raises:
        UsageError: another process has it; names its number and its machine.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp())
        >>> with locked(place):
        ...     (place / ".lock").exists()
        True
    """
    lock = FileLock(folder / LOCK, mode=0o644)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UsageError("checkpoint.locked", path=folder, **_holder(folder / HOLDER)) from None
    try:
        _name_holder(folder / HOLDER)
        yield
    finally:
        lock.release()


def _name_holder(path: Path) -> None:
    """Write down who has the lock; a link of that name is replaced, not followed."""
    working = path.with_suffix(f".{os.getpid()}.tmp")
    working.unlink(missing_ok=True)
    with working.open("x", encoding="utf-8") as file:
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
    working.replace(path)


def _holder(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")[:1000])
        return {"pid": int(found["pid"]), "host": str(found["host"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"pid": "?", "host": "?"}
