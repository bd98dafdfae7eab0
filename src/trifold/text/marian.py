"""Tokenizers of Marian's folders: two SentencePiece models, one for each side, over one vocabulary of their own ids."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Backend

from trifold.plain_file import is_plain_file
from trifold.text import sentencepiece
from trifold.text.framing import Framing, write_framing
from trifold.text.tokenizer import Encoding, Tokenizer

__all__ = ["MarianTokenizer", "Side", "is_marian", "load_marian"]

FILES = ("source.spm", "target.spm", "vocab.json")
ROLES = {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
SETTINGS = ("source_lang", "target_lang", "model_max_length", "truncation_side")
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
        found = sentencepiece.parse(data)
        found.pieces = [(f"\0{text}" if kind in HIDDEN else text, score, kind) for text, score, kind in found.pieces]
        return cls(data, sentencepiece.build(found))


class MarianTokenizer(Tokenizer):
    """Reads a source with one model and a target with another, as transformers' class of this name does.

    Args:
        vocabulary: ids of the pieces of both sides.
        sides: of source and target.
        roles: text of the special tokens by role.
        settings: what else `tokenizer_config.json` shall say.

    Example:
        >>> MarianTokenizer.from_pretrained("opus-mt-en-zh").for_target().encode("你好")  # doctest: +SKIP
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        sides: tuple[Side, Side],
        *,
        roles: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        backend = Backend(models.WordLevel(dict(vocabulary), unk_token=roles["unk"]))
        backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in roles.values()])
        backend.decoder = sides[0].backend.decoder
        write_framing(backend, Framing(last=(vocabulary[roles["eos"]],)))
        super().__init__(backend, kind="unigram", roles=roles, settings=settings)
        self.sides, self.side = sides, sides[0]

    def for_target(self) -> "MarianTokenizer":
        """The tokenizer of what is written."""
        other = copy(self)
        other.side = self.sides[1]
        return other

    def encode_batch(self, texts: Sequence[str], *, special: bool = False, plain: bool = False) -> list[Encoding]:
        """Ids of many texts: a language code is one token, and each piece has its id in the vocabulary of both sides."""
        laid = [list(self._parts(text, plain=plain)) for text in texts]
        asked = [part for parts in laid for _, part, known in parts if known is None]
        read = iter(self.side.backend.encode_batch(asked, add_special_tokens=False))
        found = [self._joined(parts, read) for parts in laid]
        return [self._between(one) for one in found] if special else found

    def encode_ids(self, texts: Sequence[str], *, plain: bool = False) -> list[NDArray[np.int64]]:
        """Ids alone of many texts."""
        return [one.ids for one in self.encode_batch(texts, plain=plain)]

    def _parts(self, text: str, *, plain: bool) -> Iterator[tuple[int, str, int | None]]:
        """Where each part of a text begins, its text, and its id where it is a token of its own."""
        special = [token.content for token in self.backend.get_added_tokens_decoder().values() if token.special]
        longest = sorted(map(re.escape, special), key=len, reverse=True)
        place = 0
        for part in [text] if plain else re.split(f"({'|'.join(longest)})", text):
            code = CODE.match(part)
            if part in special and not plain:
                yield place, part, self.token_to_id(part)
            elif code is not None:
                yield place, code[0], self._id(code[0])
                yield place + code.end(), part[code.end() :], None
            else:
                yield place, part, None
            place += len(part)

    def _joined(self, parts: Sequence[tuple[int, str, int | None]], read: Iterator[Any]) -> Encoding:
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        for place, part, known in parts:
            if known is not None:
                ids.append(known)
                places.append((place, place + len(part)))
                continue
            pieces = next(read)
            ids += map(self._id, pieces.tokens)
            places += [(place + start, place + end) for start, end in pieces.offsets]
        return Encoding(np.array(ids, dtype=np.int64), np.array(places, dtype=np.int64).reshape(-1, 2))

    def _id(self, piece: str) -> int:
        found = self.token_to_id(piece)
        assert self.special.unk is not None, "the vocabulary has it"
        return self.special.unk if found is None else found

    def decode(self, ids: Iterable[int] | NDArray[np.int64], *, skip_special: bool = True) -> str:
        """The text of ids of either side; a special token that is not left out stands before a space."""
        special, text, run = set(self.roles.values()), "", list[str]()
        for index in ids:
            piece = self.id_to_token(int(index)) or self.roles["unk"]
            if piece not in special:
                run.append(piece)
            elif not skip_special:
                text, run = f"{text}{self._spelled(run)}{piece} ", []
        return (text + self._spelled(run)).strip()

    def _spelled(self, pieces: Sequence[str]) -> str:
        decoder = self.backend.decoder
        return decoder.decode(list(pieces)) if decoder is not None and pieces else ""

    @cached_property
    def _fingerprint(self) -> str:
        vocabulary = json.dumps(self.backend.get_vocab(with_added_tokens=True), sort_keys=True)
        told = f"{vocabulary}{sorted(self.roles.items())}".encode()
        return hashlib.sha256(told + b"".join(hashlib.sha256(side.data).digest() for side in self.sides)).hexdigest()

    def save_pretrained(self, folder: str | Path, *, settings: Mapping[str, Any] | None = None) -> None:
        """Write the files that transformers' class of this name reads.

        Args:
            folder: made where it does not exist.
            settings: further values of `tokenizer_config.json`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, side in zip(FILES, self.sides, strict=False):
            (folder / name).write_bytes(side.data)
        ids = self.backend.get_vocab(with_added_tokens=True)
        roles = {f"{role}_token": text for role, text in self.roles.items()}
        told = {
            **(settings or {}),
            **self.settings,
            **roles,
            "tokenizer_class": "MarianTokenizer",
            "separate_vocabs": False,
        }
        for name, data in (
            ("vocab.json", dict(sorted(ids.items(), key=lambda one: one[1]))),
            ("tokenizer_config.json", told),
        ):
            (folder / name).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def is_marian(folder: Path) -> bool:
    """Whether a folder has a SentencePiece model for each side.

    Example:
        >>> is_marian(Path("/nowhere"))
        False
    """
    return all(is_plain_file(folder, name) for name in FILES)


def load_marian(folder: Path, settings: Mapping[str, Any]) -> MarianTokenizer:
    """The tokenizer in a folder that has all of Marian's files.

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
    kept = {name: settings[name] for name in SETTINGS if settings.get(name) is not None}
    return MarianTokenizer(vocabulary, (source, target), roles=roles, settings=kept)


def _text(token: object) -> str | None:
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None
