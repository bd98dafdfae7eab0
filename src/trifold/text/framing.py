"""Special tokens around a text, as a tokenizer's post-processor puts them there.

| family | one text | a pair |
|---|---|---|
| encoder | `[CLS] a [SEP]` | `[CLS] a [SEP] b [SEP]` |
| decoder | `<s> a` | `<s> a <s> b` |
| encoder-decoder | `a </s>` | `a </s> b </s>` |
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import processors

__all__ = ["Framing", "read_framing", "write_framing"]


@dataclass(frozen=True, slots=True)
class Framing:
    """The ids that stand around a text, and between the two texts of a pair.

    Attributes:
        first: before the first text.
        last: after the last one.
        middle: between the two.

    Example:
        >>> Framing(first=(1,), last=(2,), middle=(2,)).around([7], [8, 9])
        [1, 7, 2, 8, 9, 2]
    """

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    middle: tuple[int, ...] = ()

    def around(self, ids: Sequence[int], second: Sequence[int] | None = None) -> list[int]:
        """One text, or two, with what belongs around them."""
        more = () if second is None else (*self.middle, *second)
        return [*self.first, *ids, *more, *self.last]


def read_framing(backend: Backend) -> Framing | None:
    """What a tokenizer's post-processor puts around texts; None where it has no post-processor.

    Raises:
        ValueError: it does more than put tokens around texts.

    Example:
        >>> from tokenizers import models
        >>> backend = Backend(models.WordLevel({"[CLS]": 0, "[SEP]": 1, "a": 2}, unk_token="a"))
        >>> backend.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
        >>> read_framing(backend)
        Framing(first=(0,), last=(1,), middle=(1,))
    """
    if backend.post_processor is None:
        return None
    found = _of(json.loads(backend.post_processor.__getstate__()))
    return Framing() if found is None else found


def _of(data: Mapping[str, Any]) -> Framing | None:
    """None where tokens are left as they are."""
    match data.get("type"):
        case "TemplateProcessing":
            return _of_template(data)
        case "BertProcessing" | "RobertaProcessing":
            cls, sep = data["cls"][1], data["sep"][1]
            return Framing((cls,), (sep,), (sep,) if data["type"] == "BertProcessing" else (sep, sep))
        case "Sequence":
            parts = [found for found in map(_of, data["processors"]) if found is not None]
            if len(parts) > 1:
                raise ValueError("two post-processors that add tokens")
            return parts[0] if parts else None
        case "ByteLevel":
            return None
        case other:
            raise ValueError(f"the post-processor {other}")


def _of_template(data: Mapping[str, Any]) -> Framing:
    ids = {name: tuple(token["ids"]) for name, token in data["special_tokens"].items()}

    def parts(pieces: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids before, between and after the texts of a template."""
        runs: list[tuple[int, ...]] = [()]
        names = []
        for piece in pieces:
            if "Sequence" in piece:
                names.append(piece["Sequence"]["id"])
                runs.append(())
            else:
                runs[-1] += ids[piece["SpecialToken"]["id"]]
        if names != list(texts):
            raise ValueError("a post-processor that moves texts or leaves some out")
        return runs

    first, last = parts(data["single"], ["A"])
    around = parts(data["pair"], ["A", "B"])
    if (around[0], around[2]) != (first, last):
        raise ValueError("a post-processor that puts other tokens around two texts than around one")
    return Framing(first, last, around[1])


def write_framing(backend: Backend, framing: Framing, *, typed: bool = False, trims: bool = False) -> None:
    """Let a tokenizer put these tokens around texts when it is asked for special tokens.

    Args:
        backend: changed in place; what its post-processor did to offsets stays.
        framing: which tokens.
        typed: the second text of a pair and what follows it have type 1.
        trims: the space before a word is no part of the place of its first token; for a tokenizer of bytes.

    Example:
        >>> from tokenizers import models
        >>> backend = Backend(models.WordLevel({"<s>": 0, "a": 1}, unk_token="a"))
        >>> write_framing(backend, Framing(first=(0,)))
        >>> backend.encode("a").ids
        [0, 1]
    """
    texts = {index: str(backend.id_to_token(index)) for index in (*framing.first, *framing.last, *framing.middle)}
    special = [{"id": f"<{index}>", "ids": [index], "tokens": [text]} for index, text in texts.items()]

    def put(ids: Sequence[int], kind: int) -> list[str]:
        return [f"<{index}>:{kind}" for index in ids]

    kind = int(typed)
    single = [*put(framing.first, 0), "$A:0", *put(framing.last, 0)]
    pair = [*put(framing.first, 0), "$A:0", *put(framing.middle, 0), f"$B:{kind}", *put(framing.last, kind)]
    template = processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)
    trimming = processors.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)
    before = trimming if trims else _without_tokens(backend)
    backend.post_processor = template if before is None else processors.Sequence([before, template])


def _without_tokens(backend: Backend) -> processors.ByteLevel | None:
    """The part of a post-processor that adds no tokens."""
    if backend.post_processor is None:
        return None
    data = json.loads(backend.post_processor.__getstate__())
    for processor in data.get("processors", [data]):
        if processor["type"] == "ByteLevel":
            return processors.ByteLevel(
                add_prefix_space=processor["add_prefix_space"],
                trim_offsets=processor["trim_offsets"],
                use_regex=processor["use_regex"],
            )
    return None
