"""Files of folders that came from elsewhere: plain ones of the folder itself, and nothing outside it; their hashes."""

import hashlib
import stat
from pathlib import Path

__all__ = ["is_plain_file", "sha256"]

LONGEST_NAME = 255


def is_plain_file(folder: Path, name: str) -> bool:
    """Whether a folder holds a plain file of that name: no path, no pipe or device, no link to somewhere else.

    The hub's cache keeps snapshots as links to `../../blobs`; those are its own.

    Example:
        >>> is_plain_file(Path("/etc"), "../etc/passwd")
        False
    """
    if "\0" in name or Path(name).name != name or len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        return False
    path = folder / name
    try:
        if path.is_symlink():
            target = path.resolve(strict=True)
            own = target.parent in (folder.resolve(), (folder / ".." / ".." / "blobs").resolve())
            return own and stat.S_ISREG(target.stat().st_mode)
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def sha256(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "empty"
        >>> place.touch()
        >>> sha256(place)[:8]
        'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
