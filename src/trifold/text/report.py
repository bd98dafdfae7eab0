"""How well a tokenizer suits a text, by script."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from trifold.text.tokenizer import Tokenizer

__all__ = ["Compression", "compression_report"]

SCRIPTS = re.compile(
    r"(?P<han>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f])"
    r"|(?P<latin>[A-Za-z\u00c0-\u024f])|(?P<digits>\d)|(?P<other>.)",
    re.DOTALL,
)


@dataclass(slots=True)
class Compression:
    """Tokens of one script and the text that they stand for.

    Example:
        >>> Compression(tokens=2, num_bytes=6, characters=2).bytes_per_token
        3.0
    """

    tokens: int = 0
    num_bytes: int = 0
    characters: int = 0
    unknown: int = 0

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes that one token stands for, on average."""
        return self.num_bytes / max(self.tokens, 1)

    @property
    def characters_per_token(self) -> float:
        """Characters that one token stands for, on average."""
        return self.characters / max(self.tokens, 1)

    @property
    def unknown_rate(self) -> float:
        """Part of the tokens that are the unknown token."""
        return self.unknown / max(self.tokens, 1)

    def as_dict(self) -> dict[str, float]:
        """All numbers by name."""
        rates = {"bytes_per_token": self.bytes_per_token, "characters_per_token": self.characters_per_token}
        return {**asdict(self), **rates, "unknown_rate": self.unknown_rate}


def compression_report(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, Compression]:
    """Compression of text by script: `han`, `latin`, `digits`, `other`, and `all`.

    A token belongs to the script of its first character that is no space. Several tokens that share one character (byte
    pairs) share its bytes.

    Example:
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["low low low 中文 中文 7"] * 9, kind="byte_bpe", vocab_size=420)
        >>> report = compression_report(tokenizer, ["low 中文"])
        >>> report["han"].num_bytes, report["all"].characters
        (6, 6)
    """
    by_script = {name: Compression() for name in ("han", "latin", "digits", "other", "all")}
    for text in texts:
        encoding = tokenizer.encode_batch([text], plain=True)[0]
        place = 0
        for index, (begin, end) in zip(encoding.ids.tolist(), encoding.offsets.tolist(), strict=True):
            piece = text[max(begin, place) : max(end, place)]
            place = max(end, place)
            for compression in (by_script[_script(text[begin:end])], by_script["all"]):
                compression.tokens += 1
                compression.characters += len(piece)
                compression.num_bytes += len(piece.encode("utf-8", "replace"))
                compression.unknown += index == tokenizer.special.unk
    return by_script


def _script(piece: str) -> str:
    match = SCRIPTS.match(piece.lstrip() or " ")
    return (match.lastgroup if match else None) or "other"
