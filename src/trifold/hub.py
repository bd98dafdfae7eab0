"""Folders of a model hub: fetched by huggingface_hub, which compares sizes, then looked at byte by byte."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from trifold.errors import ModelFileError
from trifold.locale import message

__all__ = ["fetch"]


def fetch(
    name: str, wanted: Sequence[str], code: str, *, revision: str | None = None, local_files_only: bool = False
) -> Path:
    """The local folder of a hub's `owner/name`, whose files are those that their hashes name.

    A file that is not what its hash says is deleted, so that the next call fetches it anew.

    Args:
        name: of the model.
        wanted: patterns of the files to have.
        code: the message of the failure.
        revision: branch, tag or commit; None for the newest.
        local_files_only: stay off the network.

    Raises:
        ModelFileError: the files are not to be had, or are not what the hub says they are.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage] - of httpx or httpx2

    try:
        folder = Path(
            snapshot_download(name, revision=revision, local_files_only=local_files_only, allow_patterns=list(wanted))
        )
        _require_whole(folder)
    except (HTTPError, OSError, ValueError) as error:
        raise ModelFileError(code, path=name, problem=str(error).splitlines()[0][:200]) from None
    return folder


def _require_whole(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(message("checkpoint.hub_moved"))
    links = [file for file in folder.rglob("*") if file.is_symlink()]
    spoiled = [file for file in links if not _is_as_named(file, file.readlink().name)]
    for file in spoiled:
        blob = file.parent / file.readlink()
        file.unlink()
        blob.unlink(missing_ok=True)
    if spoiled:
        names = ", ".join(sorted(str(file.relative_to(folder)) for file in spoiled))
        raise ValueError(f"{names}: {message('checkpoint.altered')}")


def _is_as_named(file: Path, name: str) -> bool:
    """Whether a file of the cache has the SHA-256 (or git's SHA-1, of small files) that it is called; true for no hash."""
    if re.fullmatch(r"[0-9a-f]{64}", name):
        total = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", name):
        total = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return True
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: total).hexdigest() == name
