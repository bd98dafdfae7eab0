"""Folders that are either whole or not there, with a manifest of what they hold.

A folder is written under another name beside its place, every file is forced to disk, the manifest (sizes and sha256)
last, and then it is renamed. A crash at any moment leaves the old state or the new one, never a mixture.
"""

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trifold.errors import ModelFileError, StorageError
from trifold.locale import message

__all__ = ["MANIFEST", "checkpoints", "newest", "publish", "retain", "verify"]

MANIFEST = "manifest.json"
FORMAT = 1


def publish(folder: Path, write: Callable[[Path], None], meta: Mapping[str, Any]) -> None:
    """Make `folder` hold exactly what `write` writes, or leave everything as it was.

    Args:
        folder: where it shall stand; replaced if it exists.
        write: is given an empty folder to fill.
        meta: facts for the manifest, such as the step.

    Raises:
        StorageError: the disk is full or fails; `folder` is as before.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "step-00000001"
        >>> publish(place, lambda inside: (inside / "a").write_text("hello") and None, {"step": 1})
        >>> verify(place)["step"]
        1
    """
    working = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        write(working)
        _write_manifest(working, meta)
        for path in sorted(working.rglob("*")):
            if path.is_file():
                _sync(path)
        _sync(working)
        if folder.exists():
            folder.rename(old)
        working.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise _storage_error(error, folder) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _storage_error(error: OSError, folder: Path) -> StorageError:
    parent = next((place for place in [folder, *folder.parents] if place.exists()), Path())
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError("checkpoint.disk_full", path=folder, free=shutil.disk_usage(parent).free)
    return StorageError("checkpoint.disk_failed", path=folder, problem=str(error))


def _write_manifest(folder: Path, meta: Mapping[str, Any]) -> None:
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({"format": FORMAT, **meta, "files": files}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path) -> dict[str, Any]:
    """Compare a published folder with its manifest; give the manifest.

    Raises:
        ModelFileError: a file is missing or altered, or the manifest is; names it.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = [(name, known["size"], known["sha256"]) for name, known in manifest["files"].items()]
        made_by = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError("checkpoint.no_manifest", path=folder / MANIFEST, problem=str(error)[:200]) from None
    if made_by != FORMAT:
        raise ModelFileError("checkpoint.other_format", path=folder, given=made_by, known=FORMAT)
    for name, size, digest in files:
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise ModelFileError("checkpoint.damaged", path=path, problem="it is missing")
        if path.stat().st_size != size or _sha256(path) != digest:
            raise ModelFileError("checkpoint.damaged", path=path, problem="its content is not what was written")
    return manifest


def checkpoints(root: Path) -> list[Path]:
    """The checkpoint folders `step-...` under `root`, oldest first by step."""
    found = [path for path in root.glob("step-*") if path.is_dir() and path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def newest(root: Path, *, strict: bool = False) -> Path | None:
    """The newest checkpoint that is whole; None where there is none at all.

    A damaged one is passed over with a warning that names the bad file, or refused when `strict`.

    Raises:
        ModelFileError: all are damaged, or the newest is and `strict`.
    """
    problems = []
    for folder in reversed(checkpoints(root)):
        try:
            verify(folder)
        except ModelFileError as error:
            if strict:
                raise
            problems.append(str(error))
            continue
        for problem in problems:
            warnings.warn(message("checkpoint.fell_back", problem=problem, path=folder), stacklevel=2)
        return folder
    if problems:
        raise ModelFileError("checkpoint.all_damaged", path=root, problems="\n".join(problems))
    return None


def retain(root: Path, keep: int) -> None:
    """Delete all but the `keep` newest checkpoints, once the newest is known to be whole."""
    found = checkpoints(root)
    if len(found) > keep:
        verify(found[-1])
        for folder in found[:-keep]:
            shutil.rmtree(folder)
