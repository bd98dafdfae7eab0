"""Documents from texts that a program holds, with no file behind them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from trifold.config import require
from trifold.errors import DataError, UsageError
from trifold.retrieval.reading import Document

__all__ = ["KEYS", "documents_of"]

KEYS = ("text", "title", "source")


def documents_of(texts: Iterable[str | Mapping[str, str]]) -> Iterator[Document]:
    """A document for each text, under a name that no other has: what is called as another is gets a number.

    Args:
        texts: each a text, or a mapping with `text` and, if there are, `title` and `source`.

    Raises:
        UsageError: one text in place of many, or a mapping with other keys.
        DataError: a document without text.

    Example:
        >>> pages = [{"text": "The Nile.", "source": "rivers"}, {"text": "The Rhine.", "source": "rivers"}, "The Po."]
        >>> [document.name for document in documents_of(pages)]
        ['rivers', 'rivers:2', 'text-d4d9e1f3']
    """
    if isinstance(texts, str):
        raise UsageError("retrieval.one_text", given=texts[:60])
    listed = isinstance(texts, Iterable) and not isinstance(texts, bytes | Mapping)
    require(listed, where="texts", given=type(texts).__name__, allowed="a list of texts, or another iterable")
    counts: Counter[str] = Counter()
    for number, entry in enumerate(texts, start=1):
        fits = isinstance(entry, str | Mapping)
        require(fits, where=f"texts[{number - 1}]", given=type(entry).__name__, allowed="a str, or a mapping with text")
        fields = {"text": entry} if isinstance(entry, str) else dict(entry)
        unknown = fields.keys() - set(KEYS)
        if unknown:
            raise UsageError(
                "retrieval.unknown_keys", number=number, given=", ".join(sorted(unknown)), allowed=", ".join(KEYS)
            )
        text, title = fields.get("text") or "", fields.get("title") or ""
        if not text.strip():
            raise DataError("retrieval.blank_text", number=number)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError("text.no_text", number=number, problem=error) from None
        digest = hashlib.sha256(text.encode()).hexdigest()
        name = _unused(fields.get("source") or title or f"text-{digest[:8]}", counts)
        yield Document(name, name, title, text)


def _unused(name: str, counts: Counter[str]) -> str:
    """The name, or with the first number that makes it another than all before; counted."""
    counts[name] += 1
    if counts[name] == 1:
        return name
    while f"{name}:{counts[name]}" in counts:
        counts[name] += 1
    numbered = f"{name}:{counts[name]}"
    counts[numbered] = 1
    return numbered
