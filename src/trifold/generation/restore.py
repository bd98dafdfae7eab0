"""Restoring spans: an encoder-decoder trained to denoise says what stood at each sentinel of a text."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trifold.errors import UsageError
from trifold.generation.config import Sampling
from trifold.generation.generator import Generator
from trifold.text import Tokenizer

__all__ = ["Restoration", "restore_spans"]


@dataclass(frozen=True, slots=True)
class Restoration:
    """A text whose missing spans are filled in.

    Attributes:
        text: the whole text.
        spans: what was put at each sentinel, in the order of the text; None where the model said nothing.
    """

    text: str
    spans: tuple[str | None, ...]


def restore_spans(generator: Generator, text: str, sampling: Sampling | None = None) -> Restoration:
    """Fill in what is missing at `<extra_id_0>`, `<extra_id_1>`, ... of a text (Raffel et al. 2020, section 3.1.4).

    Args:
        generator: a model with encoder and decoder that was trained to denoise.
        text: text with a sentinel wherever something is missing.
        sampling: how to choose tokens; None takes the most probable ones.

    Raises:
        UsageError: a model without encoder, a tokenizer without sentinels, or a text without any or too long.

    Example:
        >>> from trifold.presets.pretrained import Transformer as Pretrained
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["to be or not to be"], kind="character", vocab_size=32, num_sentinels=2)
        >>> model = Pretrained.from_preset("t5", size="tiny", vocab_size=tokenizer.vocab_size)
        >>> restored = restore_spans(Generator(model, tokenizer), "to <extra_id_0> or not", Sampling(max_tokens=5))
        >>> len(restored.spans)
        1
    """
    tokenizer, sentinels = generator.tokenizer, generator.tokenizer.special.sentinels
    if generator.model.config.encoder is None:
        raise UsageError("generation.no_encoder")
    ids = tokenizer.encode(text).ids.tolist()
    holes = [token for token in ids if token in sentinels]
    if not holes:
        raise UsageError("generation.no_sentinels", text=text[:80], sentinel="<extra_id_0>", count=len(sentinels))
    if generator.longest is not None and len(ids) >= generator.longest:
        raise UsageError("generation.input_too_long", length=len(ids) + 1, limit=generator.longest)
    (answer,) = generator.generate(text, sampling or Sampling(temperature=0.0), special=True)
    spans = _split(answer.ids, sentinels, generator.ends)
    whole = [part for token in ids for part in (spans.get(token, []) if token in sentinels else [token])]
    texts = (_spelled(tokenizer, spans[hole]) if hole in spans else None for hole in holes)
    return Restoration(_spelled(tokenizer, whole), tuple(texts))


def _spelled(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of ids, without bytes that spell no whole character."""
    return tokenizer.decode(ids).replace("\ufffd", "")


def _split(ids: Sequence[int], sentinels: Collection[int], ends: Collection[int]) -> dict[int, list[int]]:
    """The tokens that follow each sentinel of the model's answer, up to the next."""
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for token in ids:
        if token in sentinels:
            current = spans.setdefault(token, [])
        elif token not in ends:
            current.append(token)
    return spans
