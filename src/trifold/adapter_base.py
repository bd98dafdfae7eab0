"""Folders of the peft library: an adapter alone, which names the model that it is a difference to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trifold.errors import ModelFileError
from trifold.hub import fetch
from trifold.plain_file import is_plain_file

__all__ = ["ADAPTER_CONFIG", "find_base", "is_adapter", "read_adapter_config"]

ADAPTER_CONFIG = "adapter_config.json"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter of the peft library, and no model of its own.

    Example:
        >>> is_adapter(Path("nowhere"))
        False
    """
    return is_plain_file(folder, ADAPTER_CONFIG) and not any(folder.glob("model*.safetensors"))


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The mapping in `adapter_config.json`.

    Raises:
        ModelFileError: it is damaged.
    """
    path = folder / ADAPTER_CONFIG
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
    if not isinstance(data, dict):
        raise ModelFileError("checkpoint.bad_file", path=path, problem="it holds no mapping")
    return data


def find_base(folder: Path, wanted: Sequence[str], *, local_files_only: bool = False) -> Path:
    """The folder of the model that an adapter belongs to: as it is named, beside the adapter, or on the hub.

    Args:
        folder: of the adapter.
        wanted: patterns of the files to have from the hub.
        local_files_only: stay off the network.

    Raises:
        ModelFileError: it is not to be had.
    """
    data = read_adapter_config(folder)
    name, revision = data.get("base_model_name_or_path"), data.get("revision")
    if isinstance(name, str) and name:
        for place in (Path(name), folder / name, folder.parent / Path(name).name):
            if place.is_dir() and place.resolve() != folder.resolve() and not is_adapter(place):
                return place
        if name.count("/") == 1 and not name.startswith((".", "/")):
            version = revision if isinstance(revision, str) and revision else None
            return fetch(name, wanted, "checkpoint.hub", revision=version, local_files_only=local_files_only)
    raise ModelFileError("presets.no_base", path=folder / ADAPTER_CONFIG, given=name)
