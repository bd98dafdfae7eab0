"""Documents from texts that a program holds, with no file behind them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from trifold.errors import DataError, UsageError
from trifold.retrieval.reading import Document

__all__ = ["KEYS", "documents_of"]

KEYS = ("text", "title", "source")


def documents_of(texts: Iterable[str | Mapping[str, str]]) -> Iterator[Document]:
    """A document for each text; one that has the source of another, or else its title, is numbered.

    Args:
        texts: each a text, or a mapping with `text` and, if there are, `title` and `source`.

    Raises:
        UsageError: one text in place of many, or a mapping with other keys.
        DataError: a document without text.

    Example:
        >>> pages = [{"text": "The Nile.", "source": "rivers"}, {"text": "The Rhine.", "source": "rivers"}, "The Po."]
        >>> [one.name for one in documents_of(pages)]
        ['rivers', 'rivers:2', 'text-d4d9e1f3']
    """
    if isinstance(texts, str):
        raise UsageError("retrieval.one_text", given=texts[:60])
    counts: dict[str, int] = {}
    for number, one in enumerate(texts, start=1):
        fields = {"text": one} if isinstance(one, str) else dict(one)
        unknown = fields.keys() - set(KEYS)
        if unknown:
            raise UsageError(
                "retrieval.unknown_keys", number=number, given=", ".join(sorted(unknown)), allowed=", ".join(KEYS)
            )
        text, title = fields.get("text") or "", fields.get("title") or ""
        if not text.strip():
            raise DataError("retrieval.blank_text", number=number)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        name = fields.get("source") or title or f"text-{digest[:8]}"
        counts[name] = counts.get(name, 0) + 1
        name = name if counts[name] == 1 else f"{name}:{counts[name]}"
        yield Document(name, name, title, text)
