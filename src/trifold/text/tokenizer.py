"""Text to token ids and back."""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from trifold.errors import UsageError
from trifold.text.codec import BackendCodec, Codec
from trifold.text.encoding import Encoding
from trifold.text.framing import Framing, read_framing, write_framing
from trifold.text.spelling import show_bytes
from trifold.text.stream import UNFINISHED, StreamDecoder
from trifold.text.words import word_starts

__all__ = ["SpecialTokens", "Tokenizer"]

UNBOUNDED = 10**30
"""What transformers takes for a length without limit."""

ROLES = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The ids with a role; None for a role that nobody has.

    Attributes:
        sentinels: marks for hidden spans, in order.

    Example:
        >>> SpecialTokens(bos=1, eos=2).all_ids
        [1, 2]
    """

    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    unk: int | None = None
    mask: int | None = None
    cls: int | None = None
    sep: int | None = None
    sentinels: tuple[int, ...] = ()

    @property
    def all_ids(self) -> list[int]:
        """Every id with a role, once, in order."""
        roles = [getattr(self, name) for name in ROLES]
        return sorted({*(found for found in roles if found is not None), *self.sentinels})


class Tokenizer:
    """A trained tokenizer with its special tokens.

    Args:
        backend: the `tokenizers` library's object; must not add special tokens by itself.
        kind: `bpe`, `byte_bpe`, `wordpiece`, `unigram` or `character`.
        roles: text of the special tokens by role (`bos`, `eos`, `pad`, `unk`, `mask`, `cls`, `sep`); where `bos` and
            `eos` are missing, `cls` and `sep` stand in, and the other way round.
        chat_template: how a conversation becomes one text, in jinja2; None where nobody said.
        settings: what else `tokenizer_config.json` shall say.
        codec: how text becomes ids; None for as the backend makes them.

    Example:
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["low lower lowest"] * 9, kind="byte_bpe", vocab_size=400)
        >>> tokenizer.decode(tokenizer.encode("slow, 慢").ids)
        'slow, 慢'
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        kind: str,
        roles: Mapping[str, str],
        chat_template: str | None = None,
        settings: Mapping[str, Any] | None = None,
        codec: Codec | None = None,
    ) -> None:
        self.backend, self.kind, self.roles, self.settings = backend, kind, dict(roles), dict(settings or {})
        self.chat_template, self.codec = chat_template, codec or BackendCodec(backend)
        self.special = self._find_special()

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self._size

    @cached_property
    def _size(self) -> int:
        return max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def _find_special(self) -> SpecialTokens:
        ids = {role: self.backend.token_to_id(text) for role, text in self.roles.items()}
        pairs = (("bos", "cls"), ("eos", "sep"), ("cls", "bos"), ("sep", "eos"))
        for role, other in pairs:
            ids[role] = ids.get(role) if ids.get(role) is not None else ids.get(other)
        sentinels = []
        while (found := self.backend.token_to_id(f"<extra_id_{len(sentinels)}>")) is not None:
            sentinels.append(found)
        return SpecialTokens(**{role: ids.get(role) for role in ROLES}, sentinels=tuple(sentinels))

    @cached_property
    def framing(self) -> Framing | None:
        """The special tokens that it puts around texts when it is asked for them; None where its model decides that."""
        return read_framing(self.backend)

    @cached_property
    def typed(self) -> bool:
        """Whether the second text of a pair may have type 1; False where its own post-processor gives all tokens type 0."""
        return self.framing is None or any(self.backend.encode("a", "a").type_ids)

    def framed(self, framing: Framing, *, typed: bool = False, trims: bool = False) -> "Tokenizer":
        """The same tokenizer with other tokens around texts, for those who open it elsewhere; ids of text stay the same.

        Args:
            framing: which tokens.
            typed: the second text of a pair has type 1, as BERT wants it.
            trims: leave spaces out of the places of tokens, where it reads bytes.

        Example:
            >>> from trifold.text import train_tokenizer
            >>> tokenizer = train_tokenizer(["low lower lowest"] * 9, kind="byte_bpe", vocab_size=400)
            >>> tokenizer.framed(Framing(first=(2,))).framing
            Framing(first=(2,), last=(), middle=())
        """
        trims = trims and self.kind == "byte_bpe"
        if framing == self.framing and not trims:
            return self
        other = copy.copy(self)
        other.backend = copy.deepcopy(self.backend)
        write_framing(other.backend, framing, typed=typed, trims=trims)
        other.codec = self.codec.on(other.backend)
        other.__dict__.pop("framing", None)
        return other

    def changed(
        self, *, roles: Mapping[str, str] | None = None, settings: Mapping[str, Any] | None = None
    ) -> "Tokenizer":
        """The same tokenizer with other special tokens, or with other settings beside it.

        Example:
            >>> from trifold.text import train_tokenizer
            >>> tokenizer = train_tokenizer(["low lower lowest"] * 9, kind="byte_bpe", vocab_size=400)
            >>> tokenizer.changed(settings={"model_max_length": 8}).settings
            {'model_max_length': 8}
        """
        other = copy.copy(self)
        other.roles = self.roles if roles is None else dict(roles)
        other.settings = self.settings if settings is None else dict(settings)
        other.special = other._find_special()  # noqa: SLF001 - its own class
        other.__dict__.pop("_fingerprint", None)
        return other

    def for_target(self) -> "Tokenizer":
        """The tokenizer of what an encoder-decoder writes: the same, except where the two sides have one each (Marian)."""
        other = copy.copy(self)
        other.codec = self.codec.for_target()
        return other

    def framing_for(self, *, encoder: bool, decoder: bool) -> Framing:
        """The tokens around texts for a model with these stacks: its own, else the usual ones of the family."""
        return self.framing if self.framing is not None else self.usual_framing(encoder=encoder, decoder=decoder)

    def usual_framing(self, *, encoder: bool, decoder: bool) -> Framing:
        """The tokens that a model with these stacks is trained to see around texts, where nothing else was agreed on."""
        special = self.special
        first = special.bos if not encoder else special.cls if not decoder else None
        end = special.sep if not decoder else special.eos
        begins, ends = (() if one is None else (one,) for one in (first, end))
        return Framing(begins, ends if encoder else (), ends)

    def add_special(self, texts: Sequence[str]) -> None:
        """Give each text that is no token yet an id of its own, which only the tokenizer's user can ask for."""
        self.backend.add_special_tokens([tokenizers.AddedToken(text, special=True, normalized=False) for text in texts])
        self.__dict__.pop("_size", None)
        self.__dict__.pop("_fingerprint", None)

    def encode(self, text: str, *, special: bool = False) -> Encoding:
        """Ids of a text; with `special`, between the start and the end token."""
        return self.encode_batch([text], special=special)[0]

    def encode_batch(self, texts: Sequence[str], *, special: bool = False, plain: bool = False) -> list[Encoding]:
        """Ids of many texts, on all cores.

        Args:
            texts: what to encode.
            special: put each between the start and the end token.
            plain: read the spelling of a special token, such as `</s>`, as the characters it is written with.
        """
        found = self.codec.encode(texts, plain=plain)
        return [self._between(one) for one in found] if special else found

    def encode_ids(self, texts: Sequence[str], *, plain: bool = False) -> list[NDArray[np.int64]]:
        """Ids alone of many texts, as `encode_batch` gives them; faster, since places in the text are not worked out."""
        return self.codec.encode_ids(texts, plain=plain, token_bytes=self.token_bytes)

    def _between(self, inner: Encoding) -> Encoding:
        end = int(inner.offsets[-1, 1]) if len(inner.offsets) else 0
        first, last = self.special.bos, self.special.eos
        ids = [*([] if first is None else [first]), *inner.ids.tolist(), *([] if last is None else [last])]
        offsets = [
            *([] if first is None else [[0, 0]]),
            *inner.offsets.tolist(),
            *([] if last is None else [[end, end]]),
        ]
        return Encoding(np.array(ids, np.int64), np.array(offsets, np.int64).reshape(-1, 2))

    def decode(self, ids: Iterable[int] | NDArray[np.int64], *, skip_special: bool = True) -> str:
        """The text of ids; byte-level kinds give back exactly what was encoded. Ids beyond the vocabulary have no text.

        Raises:
            UsageError: an id is below 0.
        """
        ids = [int(one) for one in ids]
        if ids and min(ids) < 0:
            raise UsageError("text.negative_id", given=min(ids))
        return self.codec.decode(ids, skip_special=skip_special)

    def spell(self, index: int) -> str:
        """One token by itself, as it can be shown: bytes that make no character as `<0xE4>`, special tokens as spelled.

        Example:
            >>> from trifold.text import train_tokenizer
            >>> tokenizer = train_tokenizer(["to be"] * 9, kind="byte_bpe", vocab_size=300)
            >>> [tokenizer.spell(index) for index in tokenizer.encode("é").ids.tolist()]
            ['<0xC3>', '<0xA9>']
        """
        text, token = self.decode([index], skip_special=False), self.id_to_token(index)
        if UNFINISHED not in text or token is None:
            return text
        return show_bytes(token) if self._byte_level else token

    def stream(self, *, skip_special: bool = True) -> StreamDecoder:
        """A decoder that takes ids one at a time and never shows half a character."""
        return StreamDecoder(lambda ids: self.decode(ids, skip_special=skip_special))

    def token_to_id(self, token: str) -> int | None:
        """The id of a token's own spelling; None where there is none."""
        return self.backend.token_to_id(token)

    def id_to_token(self, index: int) -> str | None:
        """A token's own spelling; None where there is none."""
        return self.backend.id_to_token(index)

    def token_bytes(self) -> NDArray[np.int64]:
        """For each id, the UTF-8 bytes of raw text that it stands for; 0 for special tokens."""
        spelled = np.zeros(self.vocab_size, dtype=np.int64)
        for token, index in self.backend.get_vocab(with_added_tokens=True).items():
            spelled[index] = self._bytes_of(token)
        for index, token in self.backend.get_added_tokens_decoder().items():
            spelled[index] = 0 if token.special else len(token.content.encode("utf-8", "replace"))
        spelled[self.special.all_ids] = 0
        return spelled

    def unknown_share(self, texts: Iterable[str]) -> float:
        """Part of the tokens of some texts that are the unknown token, from 0 to 1; always 0 where there is none.

        Example:
            >>> from trifold.text import train_tokenizer
            >>> tokenizer = train_tokenizer(["to be or not to be"], kind="character", vocab_size=200)
            >>> tokenizer.unknown_share(["to see"])
            0.16666666666666666
        """
        if self.special.unk is None:
            return 0.0
        ids = self.encode_ids(list(texts), plain=True)
        return sum(int((row == self.special.unk).sum()) for row in ids) / max(sum(map(len, ids)), 1)

    def _bytes_of(self, token: str) -> int:
        if self._byte_level:
            return len(token)  # each character of the spelling is one byte
        if self.kind == "wordpiece":
            return len(token.removeprefix("##").encode("utf-8", "replace"))
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return 1
        return len(token.replace("▁", " ").encode("utf-8", "replace"))

    @property
    def composes(self) -> bool:
        """Whether it puts text into Unicode's composed form first and does nothing else to it, as Qwen2's does."""
        return isinstance(self.backend.normalizer, tokenizers.normalizers.NFC)

    @cached_property
    def _byte_level(self) -> bool:
        decoder = json.loads(self.backend.to_str()).get("decoder") or {}
        kinds = {decoder.get("type"), *(part.get("type") for part in decoder.get("decoders", []))}
        return "ByteLevel" in kinds

    def word_starts(self, text: str, encoding: Encoding) -> NDArray[np.bool_]:
        """Whether each token begins a word of `text`; Chinese is cut into words first."""
        return word_starts(text, encoding.offsets)

    @cached_property
    def _fingerprint(self) -> str:
        return hashlib.sha256(f"{self.codec.identity()}{sorted(self.roles.items())}".encode()).hexdigest()

    def fingerprint(self) -> str:
        """A hash of everything that decides the ids of a text; not of what stands around it."""
        return self._fingerprint

    def save_pretrained(self, folder: str | Path, *, settings: Mapping[str, Any] | None = None) -> None:
        """Write `tokenizer.json` (or Marian's files) and `tokenizer_config.json`, which transformers opens with equal ids.

        Args:
            folder: made where it does not exist.
            settings: further values of `tokenizer_config.json`, such as `model_max_length`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        longest = [one["model_max_length"] for one in (settings or {}, self.settings) if "model_max_length" in one]
        data = {
            **self.settings,
            **(settings or {}),
            "model_max_length": min(longest, default=UNBOUNDED),
            **{f"{role}_token": self.roles.get(role) for role in ROLES},  # null, or a usual spelling stands in
            **self.codec.save(folder),
            "trifold_kind": self.kind,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
        if self.chat_template is not None:
            (folder / "chat_template.jinja").write_text(self.chat_template, encoding="utf-8")

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "Tokenizer":
        """Read a tokenizer from a folder or file, or from a hub name.

        Knows `tokenizer.json`, BERT's `vocab.txt`, GPT-2's `encoder.json` with `vocab.bpe` (or `vocab.json` with
        `merges.txt`), SentencePiece's `*.model`, and Marian's `source.spm`, `target.spm` and `vocab.json`.

        Raises:
            ModelFileError: nothing readable is there; names the file and what is wrong with it.
        """
        from trifold.text.loading import load

        loaded = load(str(path))
        return cls(
            loaded.backend,
            kind=loaded.kind,
            roles=loaded.roles,
            chat_template=loaded.chat_template,
            settings=loaded.settings,
            codec=loaded.codec,
        )
