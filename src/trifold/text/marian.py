"""Tokenizers of Marian's folders: two SentencePiece models, one for each side, over one vocabulary of their own ids."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Backend

from trifold.plain_file import is_plain_file
from trifold.text import sentencepiece
from trifold.text.encoding import Encoding
from trifold.text.framing import Framing, write_framing

__all__ = ["LANGUAGES", "MarianCodec", "Side", "is_marian", "load_marian"]

FILES = ("source.spm", "target.spm", "vocab.json")
ROLES = {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
LANGUAGES = ("source_lang", "target_lang")
"""Settings that only this tokenizer has."""
LARGEST = 2**28
HIDDEN = (sentencepiece.UNKNOWN, sentencepiece.CONTROL)
"""Pieces whose spelling in a text is read as the characters it is written with."""
CODE = re.compile(r">>.*?<<", re.DOTALL)
"""The language to translate to, which a text may begin with."""


@dataclass(frozen=True, slots=True)
class Side:
    """The SentencePiece model of one language.

    Attributes:
        data: its file.
        backend: the same model on the `tokenizers` library, with ids of its own.
    """

    data: bytes
    backend: Backend

    @classmethod
    def read(cls, data: bytes) -> "Side":
        """The side that a file holds.

        Raises:
            ValueError: the bytes are no SentencePiece model.
        """
        model = sentencepiece.parse(data)
        model.pieces = [(f"\0{text}" if kind in HIDDEN else text, score, kind) for text, score, kind in model.pieces]
        return cls(data, sentencepiece.build(model))


class MarianCodec:
    """Reads a source with one model and a target with another, as transformers' `MarianTokenizer` does.

    Args:
        backend: whose vocabulary has the ids of the pieces of both sides.
        sides: of source and target.
        unknown: the token of pieces that the vocabulary lacks.

    Attributes:
        side: the one that is read.
    """

    def __init__(self, backend: Backend, sides: tuple[Side, Side], unknown: str) -> None:
        self.backend, self.sides, self.side, self.unknown = backend, sides, sides[0], unknown

    def for_target(self) -> "MarianCodec":
        """The codec of what is written."""
        return self._with(side=self.sides[1])

    def on(self, backend: Backend) -> "MarianCodec":
        """The same with that backend's vocabulary."""
        return self._with(backend=backend)

    def _with(self, *, backend: Backend | None = None, side: Side | None = None) -> "MarianCodec":
        other = copy(self)
        other.backend, other.side = backend or self.backend, side or self.side
        return other

    def encode(self, texts: Sequence[str], *, plain: bool) -> list[Encoding]:
        """Ids of many texts: a language code is one token, and each piece has its id in the vocabulary of both sides."""
        laid = [list(self._parts(text, plain=plain)) for text in texts]
        asked = [part for parts in laid for _, part, known in parts if known is None]
        read = iter(self.side.backend.encode_batch(asked, add_special_tokens=False))
        return [self._joined(parts, read) for parts in laid]

    def encode_ids(
        self, texts: Sequence[str], *, plain: bool, token_bytes: Callable[[], NDArray[np.int64]]
    ) -> list[NDArray[np.int64]]:
        """Ids alone of many texts."""
        del token_bytes
        return [one.ids for one in self.encode(texts, plain=plain)]

    def _parts(self, text: str, *, plain: bool) -> Iterator[tuple[int, str, int | None]]:
        """Where each part of a text begins, its text, and its id where it is a token of its own."""
        special = [token.content for token in self.backend.get_added_tokens_decoder().values() if token.special]
        longest = sorted(map(re.escape, special), key=len, reverse=True)
        place = 0
        for segment in [text] if plain else re.split(f"({'|'.join(longest)})", text):
            code = CODE.match(segment)
            if segment in special and not plain:
                yield place, segment, self.backend.token_to_id(segment)
            elif code is not None:
                yield place, code[0], self._id(code[0])
                yield place + code.end(), segment[code.end() :], None
            else:
                yield place, segment, None
            place += len(segment)

    def _joined(self, parts: Sequence[tuple[int, str, int | None]], read: Iterator[Any]) -> Encoding:
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        for place, segment, known in parts:
            if known is not None:
                ids.append(known)
                places.append((place, place + len(segment)))
                continue
            pieces = next(read)
            ids += map(self._id, pieces.tokens)
            places += [(place + start, place + end) for start, end in pieces.offsets]
        return Encoding(np.array(ids, dtype=np.int64), np.array(places, dtype=np.int64).reshape(-1, 2))

    def _id(self, piece: str) -> int:
        index = self.backend.token_to_id(piece)
        index = self.backend.token_to_id(self.unknown) if index is None else index
        assert index is not None, "the vocabulary has it"
        return index

    def decode(self, ids: Iterable[int] | NDArray[np.int64], *, skip_special: bool) -> str:
        """The text of ids of either side; a special token that is not left out stands before a space."""
        special = {token.content for token in self.backend.get_added_tokens_decoder().values() if token.special}
        text, run = "", list[str]()
        for index in ids:
            piece = self.backend.id_to_token(int(index)) or self.unknown
            if piece not in special:
                run.append(piece)
            elif not skip_special:
                text, run = f"{text}{self._spelled(run)}{piece} ", []
        return (text + self._spelled(run)).strip()

    def _spelled(self, pieces: Sequence[str]) -> str:
        decoder = self.backend.decoder
        return decoder.decode(list(pieces)) if decoder is not None and pieces else ""

    def identity(self) -> str:
        """The vocabulary, and a hash of the model of each side."""
        vocabulary = json.dumps(self.backend.get_vocab(with_added_tokens=True), sort_keys=True)
        return vocabulary + "".join(hashlib.sha256(side.data).hexdigest() for side in self.sides)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the files that transformers' class reads."""
        for name, side in zip(FILES, self.sides, strict=False):
            (folder / name).write_bytes(side.data)
        ids = dict(sorted(self.backend.get_vocab(with_added_tokens=True).items(), key=lambda one: one[1]))
        (folder / FILES[2]).write_text(json.dumps(ids, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return {"tokenizer_class": "MarianTokenizer", "separate_vocabs": False}


def is_marian(folder: Path) -> bool:
    """Whether a folder has a SentencePiece model for each side.

    Example:
        >>> is_marian(Path("/nowhere"))
        False
    """
    return all(is_plain_file(folder, name) for name in FILES)


def load_marian(folder: Path, settings: Mapping[str, Any]) -> tuple[MarianCodec, dict[str, str]]:
    """The codec in a folder that has all of Marian's files, and its special tokens by role.

    Args:
        folder: with the files.
        settings: of its `tokenizer_config.json`.

    Raises:
        ValueError: a file is not what it should be, or the two sides have a vocabulary each.
        OSError: a file cannot be read.
    """
    for name in FILES:
        if (folder / name).stat().st_size > LARGEST:
            raise ValueError(f"{name}: {(folder / name).stat().st_size} bytes, at most {LARGEST}")
    if settings.get("separate_vocabs"):
        raise ValueError("separate_vocabs: a vocabulary for each side, but only one for both can be read")
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    roles = {role: _text(settings.get(f"{role}_token")) or usual for role, usual in ROLES.items()}
    lacking = [text for text in roles.values() if text not in vocabulary]
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [None]
    if lacking or len(set(ids)) < len(ids) or any(not isinstance(one, int) or not 0 <= one < 2**22 for one in ids):
        raise ValueError(f"vocab.json: lacks {', '.join(lacking) or '-'}, or its ids are not whole numbers from 0 on")
    source, target = (Side.read((folder / name).read_bytes()) for name in FILES[:2])
    backend = Backend(models.WordLevel(dict(vocabulary), unk_token=roles["unk"]))
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in roles.values()])
    backend.decoder = source.backend.decoder
    write_framing(backend, Framing(last=(vocabulary[roles["eos"]],)))
    return MarianCodec(backend, (source, target), roles["unk"]), roles


def _text(token: object) -> str | None:
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None
