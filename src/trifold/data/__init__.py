"""From files to batches: read, tokenize once, map into memory, cut, pack, and load in a resumable order."""

from trifold.data.loader import Loader
from trifold.data.packing import Room
from trifold.data.source import Example, ReadReport, SourceOptions, read
from trifold.data.split import Split, build_stores, plan_split
from trifold.data.store import TokenStore

__all__ = [
    "Example",
    "Loader",
    "ReadReport",
    "Room",
    "SourceOptions",
    "Split",
    "TokenStore",
    "build_stores",
    "plan_split",
    "read",
]
