"""How a tokenizer makes ids of text and text of ids: the part of it that differs where a source and a target differ."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import tokenizers
from numpy.typing import NDArray

from trifold.errors import DataError
from trifold.text.encoding import Encoding
from trifold.text.pattern import cuts
from trifold.text.pieces import Pieces, reads_in_pieces

__all__ = ["BackendCodec", "Codec"]

MANY = 2**17
"""Characters from which on a table of pieces is worth its making: 0.3 seconds for a vocabulary of 128,000."""


@runtime_checkable
class Codec(Protocol):
    """What a tokenizer asks; special tokens around texts are none of its business."""

    def encode(self, texts: Sequence[str], *, plain: bool) -> list[Encoding]:
        """Ids and places of many texts; `plain` reads the spelling of a special token as characters."""
        ...

    def encode_ids(
        self, texts: Sequence[str], *, plain: bool, token_bytes: Callable[[], NDArray[np.int64]]
    ) -> list[NDArray[np.int64]]:
        """Ids alone; `token_bytes` gives for each id the bytes that it stands for."""
        ...

    def decode(self, ids: Iterable[int] | NDArray[np.int64], *, skip_special: bool) -> str:
        """The text of ids."""
        ...

    def for_target(self) -> "Codec":
        """The codec of what an encoder-decoder writes."""
        ...

    def on(self, backend: tokenizers.Tokenizer) -> "Codec":
        """The same on another backend, which frames texts otherwise."""
        ...

    def identity(self) -> str:
        """Everything that decides the ids of a text, written out; not what stands around it."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write its files into a folder; what `tokenizer_config.json` shall say of them."""
        ...


class BackendCodec:
    """Ids as one backend of the tokenizers library gives them.

    Args:
        backend: must not add special tokens by itself.

    Example:
        >>> from tokenizers import models
        >>> codec = BackendCodec(tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
        >>> codec.encode(["a"], plain=True)[0].ids.tolist()
        [0]
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend

    def encode(self, texts: Sequence[str], *, plain: bool) -> list[Encoding]:
        """Ids and places of many texts, on all cores."""
        with _readable(texts):
            found = _reader(self.backend, plain=plain).encode_batch(list(texts), add_special_tokens=False)
        return [_encoding(one) for one in found]

    def encode_ids(
        self, texts: Sequence[str], *, plain: bool, token_bytes: Callable[[], NDArray[np.int64]]
    ) -> list[NDArray[np.int64]]:
        """Ids alone of many texts; faster, since places in the text are not worked out."""
        ask = partial(_ask, self.backend, plain=plain)
        if sum(map(len, texts)) >= MANY and (pieces := self._pieces(ask, token_bytes, plain=plain)) is not None:
            return pieces.encode(texts)
        return [np.array(ids, dtype=np.int64) for ids in ask(list(texts))]

    def _pieces(
        self,
        ask: Callable[[list[str]], list[list[int]]],
        token_bytes: Callable[[], NDArray[np.int64]],
        *,
        plain: bool,
    ) -> Pieces | None:
        """The table of pieces met before; None where a text has other ids than its pieces."""
        # a token added later may change what a piece is
        key = (plain, self.backend.get_vocab_size(), len(self.backend.get_added_tokens_decoder()))
        tables = _TABLES.setdefault(self, {})
        if key not in tables:
            apart = reads_in_pieces(json.loads(self.backend.to_str()), (cuts(32),), plain=plain)
            tables[key] = Pieces(ask, token_bytes()) if apart else None
        return tables[key]

    def decode(self, ids: Iterable[int] | NDArray[np.int64], *, skip_special: bool) -> str:
        """The text of ids; byte-level kinds give back exactly what was encoded."""
        return self.backend.decode([int(one) for one in ids], skip_special_tokens=skip_special)

    def for_target(self) -> "BackendCodec":
        """This one: both sides are read alike."""
        return self

    def on(self, backend: tokenizers.Tokenizer) -> "BackendCodec":
        """That of another backend."""
        return BackendCodec(backend)

    def identity(self) -> str:
        """The whole backend but what it puts around texts."""
        return _without(self.backend.to_str(), "post_processor")

    def save(self, folder: Path) -> dict[str, Any]:
        """Write `tokenizer.json`."""
        (folder / "tokenizer.json").write_text(self.backend.to_str(pretty=True), encoding="utf-8")
        flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
        added = {
            str(index): {flag: getattr(token, flag) for flag in flags}
            for index, token in sorted(self.backend.get_added_tokens_decoder().items())
        }
        return {
            "added_tokens_decoder": added,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
        }


def _encoding(found: tokenizers.Encoding) -> Encoding:
    places = np.fromiter(chain.from_iterable(found.offsets), dtype=np.int64)
    return Encoding(np.array(found.ids, dtype=np.int64), places.reshape(-1, 2))


def _without(text: str, name: str) -> str:
    """The text of a JSON object in which one value is null."""
    start = text.index(f'"{name}":') + len(name) + 3
    end = json.JSONDecoder().raw_decode(text, start)[1]
    return f"{text[:start]}null{text[end:]}"


def _ask(backend: tokenizers.Tokenizer, texts: list[str], *, plain: bool) -> list[list[int]]:
    """Ids of whole texts by the library."""
    with _readable(texts):
        return [one.ids for one in _reader(backend, plain=plain).encode_batch_fast(texts, add_special_tokens=False)]


@contextmanager
def _readable(texts: Sequence[str]) -> Iterator[None]:
    """Name the text that the library refuses: it says only that there is one."""
    try:
        yield
    except TypeError:
        for number, text in enumerate(texts, 1):
            try:
                str.encode(text)
            except (TypeError, UnicodeEncodeError) as error:
                raise DataError("text.no_text", number=number, problem=error) from None
        raise


def _reader(backend: tokenizers.Tokenizer, *, plain: bool) -> tokenizers.Tokenizer:
    """A backend that reads special tokens one way for good, so that threads of different wishes do not disturb each other.

    The first wish is granted by the backend itself, the other by a copy of it.
    """
    with _READING:
        if _FIRST.setdefault(backend, plain) == plain:
            if backend.encode_special_tokens != plain:
                backend.encode_special_tokens = plain
            return backend
        size = (backend.get_vocab_size(), len(backend.get_added_tokens_decoder()))  # tokens may be added later
        known, copy = _COPIES.get(backend, (None, None))
        if copy is None or known != size:
            copy = tokenizers.Tokenizer.from_str(backend.to_str())
            copy.encode_special_tokens = plain
            _COPIES[backend] = (size, copy)
        return copy


_READING = Lock()
_FIRST: WeakKeyDictionary[tokenizers.Tokenizer, bool] = WeakKeyDictionary()
_COPIES: WeakKeyDictionary[tokenizers.Tokenizer, tuple[tuple[int, int], tokenizers.Tokenizer]] = WeakKeyDictionary()
_TABLES: WeakKeyDictionary[BackendCodec, dict[tuple[bool, int, int], Pieces | None]] = WeakKeyDictionary()
