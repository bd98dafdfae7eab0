"""Token ids on disk: written once in a stream, then read piece by piece and never whole.

A store is a folder: `index.json` with counts and hashes, `tokens.bin` (ids one after another, uint16 or uint32),
`offsets.bin` (where each document begins, uint64), optionally `words.bin` (one byte a token: begins a word) and, for
pairs, `target_tokens.bin` and `target_offsets.bin`. It is written beside its place and moved there when it is complete.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trifold.data.column import Column, verify
from trifold.data.permutation import mix
from trifold.data.source import Example
from trifold.errors import DataError
from trifold.example import Piece
from trifold.plain_file import sha256
from trifold.text import Tokenizer

__all__ = ["Corpus", "StoreWriter", "TokenStore"]

FORMAT = 1
BUFFERED_CHARACTERS = 2**20
"""Text waiting to be tokenized: bounds the memory of building, whatever the size of the corpus."""


@runtime_checkable
class Corpus(Protocol):
    """What a loader reads."""

    name: str

    def num_pieces(self, length: int, extra: int) -> int:
        """How many pieces there are."""
        ...

    def piece(self, index: int, length: int, *, shift: int, suffix: Sequence[int]) -> Piece | None:
        """One of them; None for one that is empty under this shift."""
        ...


class TokenStore:
    """One corpus of token ids, mapped into memory.

    Args:
        folder: where it was built.
        tokenizer: the one it was built with.

    Raises:
        DataError: a file is missing, damaged, of the wrong size or made with another tokenizer; names it.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self.folder, self.name = folder, str(folder)
        self.index = _read_index(folder)
        if self.index["tokenizer"] != tokenizer.fingerprint():
            raise DataError("data.other_tokenizer", path=folder)
        self.dtype = np.dtype(str(self.index["dtype"]))
        files: Mapping[str, Mapping[str, object]] = self.index["files"]
        for name, known in files.items():
            verify(folder / name, known, self.dtype, tokenizer.vocab_size)
        self._tokens = Column(folder / "tokens.bin", self.dtype)
        self._offsets = self._map("offsets.bin", np.dtype(np.uint64))
        self._words = Column(folder / "words.bin", np.dtype(np.bool_)) if "words.bin" in files else None
        paired = "target_tokens.bin" in files
        self._target_tokens = Column(folder / "target_tokens.bin", self.dtype) if paired else None
        self._target_offsets = self._map("target_offsets.bin", np.dtype(np.uint64)) if paired else None
        self._pieces: dict[tuple[int, int], NDArray[np.int64]] = {}

    @staticmethod
    def describes(folder: Path, tokenizer: Tokenizer, details: Mapping[str, object]) -> bool:
        """Whether a store made by this tokenizer from exactly this text stands in `folder`.

        Raises:
            DataError: there is one that was made from other text, which must not be mixed into a run by accident.
        """
        if not (folder / "index.json").is_file():
            return False
        index = _read_index(folder)
        same = all(index.get(name) == value for name, value in details.items())
        if not same or index["tokenizer"] != tokenizer.fingerprint():
            raise DataError("data.other_text", path=folder)
        return True

    @property
    def num_documents(self) -> int:
        """Documents, or pairs."""
        return len(self._offsets) - 1

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents, special ones not counted."""
        return int(self._offsets[-1])

    @property
    def num_bytes(self) -> int:
        """Bytes of the raw text in UTF-8."""
        return int(self.index["num_bytes"])

    @property
    def token_bytes(self) -> int:
        """Bytes that the tokens spell: fewer than those of the text where the tokenizer loses some or knows them not."""
        return int(self.index["token_bytes"])

    @property
    def unknown_share(self) -> float:
        """Part of the tokens that are the unknown token, from 0 to 1."""
        return int(self.index.get("unknown", 0)) / max(self.num_tokens, 1)

    @property
    def digest(self) -> str:
        """Hash of everything in the store."""
        return hashlib.sha256(json.dumps(self.index, sort_keys=True).encode()).hexdigest()

    def document(self, index: int) -> NDArray[np.int64]:
        """The ids of one document."""
        return self._slice(index, 0, None)

    def num_pieces(self, length: int, extra: int) -> int:
        """How many pieces of `length` tokens cover every document, each `extra` tokens longer than stored."""
        if self._target_tokens is not None:
            return self.num_documents
        return int(self._ends(length, extra)[-1]) if self.num_documents else 0

    def piece(self, index: int, length: int, *, shift: int, suffix: Sequence[int]) -> Piece | None:
        """One piece. A document longer than `length` is cut every `length` tokens, from a place that `shift` decides.

        `shift` 0 cuts from the start. The piece before the first cut may be short, or empty (None).
        """
        if self._target_tokens is not None and self._target_offsets is not None:
            start, end = (int(place) for place in self._target_offsets[index : index + 2])
            return Piece(self.document(index), target=self._target_tokens.read(start, end).astype(np.int64))
        ends = self._ends(length, len(suffix))
        document = int(np.searchsorted(ends, index, side="right"))
        number = index - (int(ends[document - 1]) if document else 0)
        size = int(self._offsets[document + 1] - self._offsets[document])
        total = size + len(suffix)
        start, stop = 0, total
        if total > length:
            late = mix(shift, document) % length if shift else 0
            start, stop = max(number * length - late, 0), min((number + 1) * length - late, total)
        if stop <= start:
            return None
        first = max(start - 1, 0)  # with the token before it
        ids = self._slice(document, first, min(stop, size))
        if stop > size:
            ids = np.concatenate([ids, np.array(suffix[max(first - size, 0) : stop - size], dtype=np.int64)])
        previous, ids = (int(ids[0]), ids[1:]) if start else (None, ids)
        return Piece(ids, previous, self._word_starts(document, start, stop, size))

    def _word_starts(self, document: int, start: int, stop: int, size: int) -> NDArray[np.bool_] | None:
        if self._words is None:
            return None
        origin = int(self._offsets[document])
        known = self._words.read(origin + start, origin + min(stop, size))
        return np.concatenate([known, np.ones(stop - start - len(known), dtype=np.bool_)])

    def _slice(self, document: int, start: int, stop: int | None) -> NDArray[np.int64]:
        origin, end = int(self._offsets[document]), int(self._offsets[document + 1])
        stop = end if stop is None else origin + stop
        return self._tokens.read(origin + start, stop).astype(np.int64)

    def _ends(self, length: int, extra: int) -> NDArray[np.int64]:
        """For each document, the number of pieces up to and with its own; kept on disk, not in memory."""
        key = (length, extra)
        if key not in self._pieces:
            sizes = np.diff(self._offsets.astype(np.int64)) + extra
            counts = np.where(sizes <= length, 1, -(-sizes // length) + 1)
            self._pieces[key] = np.cumsum(counts)
        return self._pieces[key]

    def _map(self, name: str, dtype: np.dtype) -> NDArray:
        path = self.folder / name
        return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


class StoreWriter:
    """Writes one store in a stream; `finish` makes it complete."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, *, words: bool, pairs: bool) -> None:
        self.folder, self.tokenizer = folder, tokenizer
        folder.mkdir(parents=True, exist_ok=True)
        self.dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
        self.token_bytes = tokenizer.token_bytes()
        names = ["tokens.bin", "offsets.bin", *(["words.bin"] if words else [])]
        names += ["target_tokens.bin", "target_offsets.bin"] if pairs else []
        self.files: dict[str, BinaryIO] = {name: (folder / name).open("wb+") for name in names}
        self.counts = {"tokens.bin": 0, "target_tokens.bin": 0}
        self.num_documents = self.num_bytes = self.spelled = self.unknown = 0
        self._waiting: list[Example] = []
        self._characters = 0
        self._mark("offsets.bin", 0)
        if pairs:
            self._mark("target_offsets.bin", 0)

    def add(self, example: Example) -> None:
        """Add a document, a part of one, or a pair."""
        self._waiting.append(example)
        self._characters += sum(len(text) for text in example.texts)
        if self._characters >= BUFFERED_CHARACTERS:
            self.flush()

    def finish(self, details: Mapping[str, object]) -> None:
        """Write out what waits, the index and its hashes."""
        self.flush()
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        self.close()
        paths = {name: self.folder / name for name in self.files}
        files = {name: {"size": path.stat().st_size, "sha256": sha256(path)} for name, path in paths.items()}
        index = {
            "format": FORMAT,
            "dtype": self.dtype.name,
            "tokenizer": self.tokenizer.fingerprint(),
            "num_documents": self.num_documents,
            "num_bytes": self.num_bytes,
            "token_bytes": self.spelled,
            "unknown": self.unknown,
            "files": files,
            **details,
        }
        with (self.folder / "index.json").open("w", encoding="utf-8") as file:
            json.dump(index, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Let go of the files, complete or not."""
        for file in self.files.values():
            file.close()

    def flush(self) -> None:
        """Tokenize and write what waits."""
        waiting, self._waiting, self._characters = self._waiting, [], 0
        for example, ids in zip(waiting, self._tokenize([example.texts[0] for example in waiting]), strict=True):
            self._append("tokens.bin", ids)
            self._count(ids)
            self.num_bytes += len(example.texts[0].encode("utf-8", "surrogatepass"))
            if example.complete:
                self.num_documents += 1
                self._mark("offsets.bin", self.counts["tokens.bin"])
        if "target_tokens.bin" in self.files:
            for ids in self.tokenizer.for_target().encode_ids([one.texts[1] for one in waiting], plain=True):
                self._append("target_tokens.bin", ids)
                self._mark("target_offsets.bin", self.counts["target_tokens.bin"])

    def _tokenize(self, texts: list[str]) -> list[NDArray[np.int64]]:
        """The ids of each text; where words begin is written down on the way, where it is kept."""
        if "words.bin" not in self.files:
            return self.tokenizer.encode_ids(texts, plain=True)
        encodings = self.tokenizer.encode_batch(texts, plain=True)
        for text, encoding in zip(texts, encodings, strict=True):
            self.files["words.bin"].write(self.tokenizer.word_starts(text, encoding).tobytes())
        return [encoding.ids for encoding in encodings]

    def _count(self, ids: NDArray[np.int64], sign: int = 1) -> None:
        """What tokens spell and how many are unknown, added or taken away."""
        self.spelled += sign * int(self.token_bytes[ids].sum())
        if self.tokenizer.special.unk is not None:
            self.unknown += sign * int((ids == self.tokenizer.special.unk).sum())

    def _append(self, name: str, ids: NDArray) -> None:
        self.files[name].write(ids.astype(self.dtype).tobytes())
        self.counts[name] += len(ids)

    def _mark(self, name: str, place: int) -> None:
        self.files[name].write(np.uint64(place).tobytes())


def _read_index(folder: Path) -> dict:
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        made_by = index["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("data.store_damaged", path=folder / "index.json", problem=str(error)) from None
    if made_by != FORMAT:
        raise DataError("data.store_version", path=folder, given=made_by, known=FORMAT)
    return index
