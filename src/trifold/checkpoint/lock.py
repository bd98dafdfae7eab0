"""One process a run: a lock that the system lets go of when its process ends, however it ends."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trifold.errors import UsageError

__all__ = ["locked"]

LOCK = ".lock"


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
    path = folder / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError("checkpoint.locked", path=folder, **_holder(handle)) from None
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(handle, 1000, 0))
        return {"pid": int(found["pid"]), "host": str(found["host"])}
    except (ValueError, KeyError, TypeError):
        return {"pid": "?", "host": "?"}
