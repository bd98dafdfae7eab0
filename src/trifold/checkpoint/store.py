"""Folders that are either whole or not there, with a manifest of what they hold.

A folder is written under another name beside its place, every file is forced to disk, then the manifest (sizes and sha256)
and the manifest's own sha256, and then the folder is renamed. A crash at any moment leaves the old state or the new one,
never a mixture. `sha256sum -c manifest.sha256` checks the manifest by hand.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from trifold.errors import ModelFileError, StorageError
from trifold.locale import message
from trifold.plain_file import sha256

__all__ = [
    "MANIFEST",
    "checkpoints",
    "discard",
    "folder_size",
    "name_of",
    "newest",
    "place_of",
    "publish",
    "read_manifest",
    "recover",
    "require_room",
    "retain",
    "storage_error",
    "verify",
]

MANIFEST, SEAL = "manifest.json", "manifest.sha256"
FORMAT = 2
NAME = re.compile(r"step-(\d{1,18})(?:-pass-(\d{1,9}))?")
LARGEST_MANIFEST = 2**26
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def name_of(step: int, passes: int = 0) -> str:
    """The name of a checkpoint: of a whole step, or in the middle of the next one.

    Example:
        >>> name_of(12), name_of(12, 3)
        ('step-00000012', 'step-00000012-pass-0003')
    """
    return f"step-{step:08d}" + (f"-pass-{passes:04d}" if passes else "")


def place_of(folder: Path) -> tuple[int, int]:
    """Step and pass of a checkpoint's folder.

    Example:
        >>> place_of(Path("step-00000012-pass-0003"))
        (12, 3)
    """
    found = NAME.fullmatch(folder.name)
    assert found is not None, folder
    return int(found[1]), int(found[2] or 0)


def publish(folder: Path, write: Callable[[Path], None], meta: Mapping[str, Any], *, needed: int | None = None) -> None:
    """Make `folder` hold exactly what `write` writes, or leave everything as it was.

    Args:
        folder: where it shall stand; replaced if it exists.
        write: is given an empty folder to fill.
        meta: facts for the manifest, such as the step.
        needed: bytes that it takes, for the message where they are not to be had.

    Raises:
        StorageError: the disk is full or fails; `folder` is as before.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "step-00000001"
        >>> publish(place, lambda inside: (inside / "a").write_text("hello") and None, {"step": 1})
        >>> verify(place)["step"]
        1
    """
    working, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    try:
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        write(working)
        _write_manifest(working, meta)
        _sync_all(working)
        if folder.exists():
            folder.rename(old)
        working.rename(folder)
        _sync(folder.parent)
    except (OSError, SafetensorError) as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(working, ignore_errors=True)  # room for whoever goes on
        raise storage_error(error, folder, needed=needed) from None
    finally:
        shutil.rmtree(working, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def storage_error(error: OSError | SafetensorError, path: Path, *, needed: int | None = None) -> StorageError:
    """The failure of a disk in our words."""
    parent = next((place for place in [path, *path.parents] if place.exists()), Path())
    if _number_of(error) in FULL:
        numbers = {"free": f"{shutil.disk_usage(parent).free:,}", "needed": "?" if needed is None else f"{needed:,}"}
        return StorageError("checkpoint.disk_full", path=path, **numbers)
    return StorageError("checkpoint.disk_failed", path=path, problem=str(error))


def _number_of(error: OSError | SafetensorError) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"os error (\d+)", str(error))  # it says in words what the system said in a number
    return int(found[1]) if found else None


def require_room(place: Path, needed: int, code: str) -> None:
    """Make sure that a disk has so many bytes free.

    Args:
        place: a file or folder of the disk, which may not be there yet.
        needed: bytes.
        code: the message of the failure.

    Raises:
        StorageError: it has not; says how much is missing.

    Example:
        >>> require_room(Path("/nowhere"), 0, "checkpoint.no_room")
    """
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        numbers = {"needed": f"{needed:,}", "free": f"{free:,}", "missing": f"{needed - free:,}"}
        raise StorageError(code, path=there, **numbers)


def recover(root: Path) -> None:
    """Put back or clear away what processes that died in `publish` left behind in `root`.

    To be called by the one process that holds the run's lock.
    """
    for path in root.glob(".*.old"):
        folder = path.with_name(path.name[1:].rsplit(".", 2)[0])
        if not folder.exists():
            path.rename(folder)
    for path in [*root.glob(".*.old"), *root.glob(".*.tmp")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _write_manifest(folder: Path, meta: Mapping[str, Any]) -> None:
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({"format": FORMAT, **meta, "files": files}, indent=1, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    (folder / SEAL).write_text(_seal(text.encode()), encoding="utf-8")


def _seal(manifest: bytes) -> str:
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n"


def _sync_all(folder: Path) -> None:
    """Force to disk every file, and every folder once its files are there."""
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    windows = os.name == "nt"
    if windows and path.is_dir():  # which it does not open
        return
    handle = os.open(path, os.O_RDWR if windows else os.O_RDONLY)  # it syncs only what is open for writing
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def verify(folder: Path) -> dict[str, Any]:
    """Compare a published folder with its manifest; give the manifest.

    Raises:
        ModelFileError: a file is missing, altered, or not of this folder, or the manifest is; names it.
    """
    manifest = read_manifest(folder)
    made_by = manifest.get("format")
    if made_by != FORMAT:
        raise ModelFileError(
            "checkpoint.other_format", path=folder, given=made_by, known=FORMAT, version=manifest.get("version", "?")
        )
    try:
        known = {str(name): (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelFileError("checkpoint.no_manifest", path=folder / MANIFEST, problem=repr(error)[:200]) from None
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if not stat.S_ISDIR(path.lstat().st_mode)}
    for name in sorted(present - known.keys() - {MANIFEST, SEAL}):
        raise ModelFileError("checkpoint.damaged", path=folder / name, problem=message("checkpoint.not_listed"))
    for name, (size, digest) in known.items():
        path = folder / name
        if name not in present or not stat.S_ISREG(path.lstat().st_mode):
            raise ModelFileError("checkpoint.damaged", path=path, problem=message("checkpoint.missing"))
        if path.stat().st_size != size or sha256(path) != digest:
            raise ModelFileError("checkpoint.damaged", path=path, problem=message("checkpoint.altered"))
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a published folder, whose files are not looked at.

    Raises:
        ModelFileError: it is missing, or was altered.
    """
    path, seal = folder / MANIFEST, folder / SEAL
    try:
        plain = all(
            stat.S_ISREG(part.lstat().st_mode) and part.stat().st_size <= LARGEST_MANIFEST for part in (path, seal)
        )
        raw = path.read_bytes() if plain else b""
        whole = plain and seal.read_bytes() == _seal(raw).encode()
        manifest = json.loads(raw) if whole else None
        problem = message("checkpoint.altered" if plain else "checkpoint.missing")
    except (OSError, ValueError, RecursionError) as error:
        manifest, problem = None, str(error)[:200]
    if not isinstance(manifest, dict):
        raise ModelFileError("checkpoint.no_manifest", path=path, problem=problem)
    return manifest


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def checkpoints(root: Path) -> list[Path]:
    """The checkpoint folders under `root`, oldest first by step and pass; links and other files are none.

    One that is deleted meanwhile, as by a save in the background, is none either.
    """
    named = (path for path in root.glob("step-*") if NAME.fullmatch(path.name))
    return sorted((path for path in named if path.is_dir() and not path.is_symlink()), key=place_of)


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


def retain(root: Path, keep: int, *, every: int = 0, spare: Collection[Path] = ()) -> None:
    """Delete checkpoints that are no longer wanted, once the newest is known to be whole.

    Args:
        root: where they stand.
        keep: how many of the newest to keep.
        every: also keep those of whole steps that are multiples of this; 0 for none.
        spare: never delete these.
    """
    folders = checkpoints(root)
    if len(folders) <= keep:
        return
    run = verify(folders[-1]).get("run")
    old = [folder for folder in folders[:-keep] if folder not in spare and not _is_kept(folder, every)]
    for folder in old:
        if _facts(folder).get("run", run) == run:  # those of another run are not ours to delete
            discard(folder)


def discard(folder: Path) -> None:
    """Delete a published folder, so that a crash leaves no half of it under its name; `recover` clears away the rest.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "step-00000001"
        >>> place.mkdir()
        >>> discard(place)
        >>> place.exists()
        False
    """
    going = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    folder.rename(going)
    shutil.rmtree(going)


def _is_kept(folder: Path, every: int) -> bool:
    step, passes = place_of(folder)
    return bool(every) and passes == 0 and step % every == 0


def _facts(folder: Path) -> dict[str, Any]:
    try:
        return read_manifest(folder)
    except ModelFileError:
        return {}
