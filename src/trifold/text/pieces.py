"""Ids of pieces of text that were met before, so that the tokenizer is asked once for each.

Nine in ten words of a text stood there before. A byte-level tokenizer that begins a word at a space gives a text the ids of
its pieces, one after the other, where these end before a single space or at a line's end; texts with long pieces (Chinese,
for one) go to the tokenizer whole.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trifold.native import load_library

__all__ = ["Pieces", "reads_in_pieces"]

SOURCE = Path(__file__).with_name("pieces.c")
MOST, LETTERS, IDS, LONGEST = 2**19, 2**23, 2**21, 128
"""Pieces, their bytes and their ids that are held (36 MiB; then all is forgotten), and bytes of the longest."""

TOGETHER = 1000
"""Pieces that the tokenizer is given as one text."""

SPACE, LINE, DELETE = b" \n\x7f"

Ask = Callable[[list[str]], list[list[int]]]


class _Table(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("places", "most", "letters", "ids", "count", "used_letters", "used_ids")),
        *((name, ctypes.c_void_p) for name in ("place", "hash", "start", "first", "length", "size", "letter", "id")),
    )


@cache
def _load() -> ctypes.CDLL | None:
    library = load_library(SOURCE)
    if library is not None:
        number, place = ctypes.c_int64, ctypes.c_void_p
        library.add_pieces.argtypes, library.add_pieces.restype = [place, place, number, number], number
        library.write_ids.argtypes, library.write_ids.restype = [place, place, number, number, place], number
    return library


def reads_in_pieces(settings: Any, patterns: Sequence[str], *, plain: bool = False) -> bool:
    """Whether a tokenizer gives a text the ids of its pieces.

    Args:
        settings: its `tokenizer.json`.
        patterns: regular expressions that begin a word at a space and at a line's end, which its pre-tokenizer may cut by.
        plain: whether the spelling of a special token is text like any other.

    Example:
        >>> reads_in_pieces({"model": {"type": "WordPiece"}}, ())
        False
    """
    model, cuts = settings["model"], settings.get("pre_tokenizer") or {}
    simple = (
        model.get("type") == "BPE"
        and not model.get("dropout")
        and not any(settings.get(name) for name in ("normalizer", "truncation", "padding"))
    )
    alone = all(
        not one["lstrip"] and not one["rstrip"] and not any(map(str.isspace, one["content"]))
        for one in settings.get("added_tokens") or ()
        if not (plain and one["special"])
    )
    steps = cuts.get("pretokenizers") or [cuts]
    last = steps[-1]
    level = last.get("type") == "ByteLevel" and not last.get("add_prefix_space")
    if len(steps) == 1:
        known = bool(last.get("use_regex"))
    else:
        pattern = steps[0].get("pattern", {}).get("Regex")
        known = len(steps) == 2 and not last.get("use_regex") and steps[0].get("behavior") == "Isolated"
        known = known and not steps[0].get("invert") and pattern in patterns
    return simple and alone and level and known


class Pieces:
    """The table.

    Args:
        ask: gives the ids of texts, by the tokenizer itself.
        sizes: how many bytes each id stands for.

    Example:
        >>> pieces = Pieces(lambda texts: [list(text.encode()) for text in texts], np.ones(256, dtype=np.int64))
        >>> pieces.encode(["a b"])[0].tolist()
        [97, 32, 98]
    """

    def __init__(self, ask: Ask, sizes: NDArray[np.int64]) -> None:
        self.ask, self.sizes, self.known, self.lock = ask, sizes, 0, threading.Lock()
        self.room = np.empty(2**16, np.int64)
        room = {
            "place": (2 * MOST, np.int32),
            "hash": (MOST, np.uint64),
            "start": (MOST, np.int64),
            "first": (MOST, np.int64),
            "length": (MOST, np.int32),
            "size": (MOST, np.int32),
            "letter": (LETTERS, np.uint8),
            "id": (IDS, np.int32),
        }
        self.parts: dict[str, NDArray[Any]] = {name: np.zeros(size, dtype) for name, (size, dtype) in room.items()}
        self.table = _Table(places=2 * MOST, most=MOST, letters=LETTERS, ids=IDS)
        for name, part in self.parts.items():
            setattr(self.table, name, part.ctypes.data)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The ids of each text."""
        library = _load()
        if library is None:
            return [np.array(ids, dtype=np.int64) for ids in self.ask(list(texts))]
        encoded: dict[int, NDArray[np.int64]] = {}
        waiting: dict[int, bytes] = {}
        with self.lock:
            try:
                for number, text in enumerate(texts):
                    spelled = text.encode("utf-8", "surrogatepass")
                    status = library.add_pieces(ctypes.byref(self.table), spelled, len(spelled), LONGEST)
                    if status < 0:  # no room for more: use what there is, then begin anew
                        encoded |= self._read(library, waiting)
                        waiting = {}
                        self._forget()
                        status = library.add_pieces(ctypes.byref(self.table), spelled, len(spelled), LONGEST)
                    if status > 0:
                        waiting[number] = spelled
                encoded |= self._read(library, waiting)
            except BaseException:
                self._forget()  # some pieces have no ids yet
                raise
        left = [number for number in range(len(texts)) if number not in encoded]
        whole = self.ask([texts[number] for number in left])
        encoded |= {number: np.array(ids, dtype=np.int64) for number, ids in zip(left, whole, strict=True)}
        return [encoded[number] for number in range(len(texts))]

    def _read(self, library: ctypes.CDLL, waiting: dict[int, bytes]) -> dict[int, NDArray[np.int64]]:
        """The ids of texts whose pieces stand in the table; none, where they take too much room."""
        if not self._learn():
            self._forget()
            return {}
        encoded = {}
        for number, spelled in waiting.items():
            if len(spelled) > len(self.room):
                self.room = np.empty(2 * len(spelled), np.int64)
            place = self.room.ctypes.data
            count = library.write_ids(ctypes.byref(self.table), spelled, len(spelled), len(self.room), place)
            if count >= 0:
                encoded[number] = self.room[:count].copy()
        return encoded

    def _learn(self) -> bool:
        """Ask for the ids of the pieces that have none; whether there was room for them."""
        parts, letters = self.parts, self.parts["letter"][: self.table.used_letters]
        new = np.arange(self.known, self.table.count)
        first, last = letters[parts["start"][new]], letters[parts["start"][new] + parts["length"][new] - 1]
        # such pieces may stand side by side as they did in their texts; the tokenizer takes less time for one long text
        joins = ((first == SPACE) | (first == LINE)) & (last > SPACE) & (last < DELETE)
        groups = np.split(new[joins], range(TOGETHER, int(joins.sum()), TOGETHER)) if joins.any() else []
        alone = [new[~joins]]
        spelled = bytes(letters)
        found = self.ask([self._text(spelled, group) for group in groups])
        for group, ids in zip(groups, found, strict=True):
            alone += [] if self._note(group, np.array(ids, dtype=np.int64)) else [group]
        singles = np.concatenate(alone)[:, None]
        for single, ids in zip(singles, self.ask([self._text(spelled, one) for one in singles]), strict=True):
            self._keep(single, np.array(ids, dtype=np.int64), np.array([len(ids)]))
        self.known = self.table.count
        return self.table.used_ids <= IDS

    def _text(self, spelled: bytes, numbers: NDArray[np.int64]) -> str:
        starts, lengths = self.parts["start"][numbers].tolist(), self.parts["length"][numbers].tolist()
        pieces = [spelled[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        return b"".join(pieces).decode("utf-8", "surrogatepass")

    def _note(self, group: NDArray[np.int64], ids: NDArray[np.int64]) -> bool:
        """Give each piece its own of the ids of all; whether these end where the pieces do."""
        reached = np.cumsum(self.sizes[ids])
        wanted = np.cumsum(self.parts["length"][group], dtype=np.int64)
        last = np.searchsorted(reached, wanted)
        right = bool(len(ids) > 0 and last[-1] == len(ids) - 1 and (reached[last] == wanted).all())
        if right:
            self._keep(group, ids, np.diff(last, prepend=-1))
        return right

    def _keep(self, group: NDArray[np.int64], ids: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        start, end = self.table.used_ids, self.table.used_ids + len(ids)
        if end <= IDS:
            self.parts["id"][start:end] = ids
            self.parts["size"][group], self.parts["first"][group] = counts, start + np.cumsum(counts) - counts
        self.table.used_ids = end

    def _forget(self) -> None:
        self.parts["place"].fill(0)
        self.table.count = self.table.used_letters = self.table.used_ids = self.known = 0
