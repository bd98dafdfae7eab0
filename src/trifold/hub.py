"""Folders of a model hub: fetched by huggingface_hub, which compares sizes, then looked at byte by byte.

Also which folder is meant by a name that is neither here nor on a hub.
"""

import difflib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from trifold.errors import ModelFileError
from trifold.locale import message

__all__ = ["fetch", "is_hub_name", "nearest_folder"]

MODEL = ("config.json", "adapter_config.json", "checkpoints")
"""One of these stands in a folder with a model."""


def is_hub_name(name: str) -> bool:
    """Whether a name can be a hub's `owner/name`; what would lie in a folder that is here is a path.

    Example:
        >>> is_hub_name("google/bert"), is_hub_name("./google"), is_hub_name("bert")
        (True, False, False)
    """
    return name.count("/") == 1 and not name.startswith((".", "/")) and not Path(name).parent.is_dir()


def nearest_folder(name: str, holds: Sequence[str] = MODEL) -> str:
    """A sentence with the folder that is called most like a name, where that stands or where runs do; empty without one.

    Args:
        name: of a folder that is not there.
        holds: files or folders of which one has to be in it.
    """
    around = dict.fromkeys((Path(name).parent, Path("runs"), Path()))
    inside = (child for place in around if place.is_dir() for child in sorted(place.iterdir()))
    folders = [child for child in inside if any((child / held).exists() for held in holds)]
    named = {child.name: child for child in reversed(folders)}
    near = difflib.get_close_matches(Path(name).name, named, n=1)
    return message("checkpoint.nearest", nearest=named[near[0]]) if near else ""


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
        problem = str(error).splitlines()[0][:200]
        raise ModelFileError(code, path=name, problem=problem, nearest=nearest_folder(name)) from None
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
