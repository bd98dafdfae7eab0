"""Files of models: atomic folders, key tables, Hugging Face's layout."""

from trifold.checkpoint.key_map import Entry, KeyMap, numbered, paired
from trifold.checkpoint.lock import locked
from trifold.checkpoint.store import (
    checkpoints,
    discard,
    folder_size,
    name_of,
    newest,
    place_of,
    publish,
    read_manifest,
    recover,
    require_room,
    retain,
    verify,
)

__all__ = [
    "Entry",
    "KeyMap",
    "checkpoints",
    "discard",
    "folder_size",
    "locked",
    "name_of",
    "newest",
    "numbered",
    "paired",
    "place_of",
    "publish",
    "read_manifest",
    "recover",
    "require_room",
    "retain",
    "verify",
]
