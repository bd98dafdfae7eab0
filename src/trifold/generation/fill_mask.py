"""Filling masks: what an encoder thinks stands where a text has a hole."""

from dataclasses import dataclass

import torch

from trifold.errors import UsageError
from trifold.generation.generator import evaluating
from trifold.model import Transformer
from trifold.text import Tokenizer

__all__ = ["Candidate", "fill_mask"]

SPELLINGS = ("[MASK]", "<mask>")
"""How people write a mask; each is understood, whatever the tokenizer's own spelling."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One token that may fill a mask.

    Attributes:
        token: its text; bytes that make no whole character are written as `<0xE4>`, special tokens as they are spelled.
        id: its id.
        probability: how likely the model finds it, from 0 to 1.
    """

    token: str
    id: int
    probability: float


def fill_mask(model: Transformer, tokenizer: Tokenizer, text: str, *, top_k: int = 5) -> list[list[Candidate]]:
    """The most probable tokens for each mask of a text, each mask by itself.

    Args:
        model: a model with an encoder alone.
        tokenizer: the tokenizer that it was trained with.
        text: text in which `[MASK]`, `<mask>` or the tokenizer's own mask token stands where something is missing.
        top_k: how many candidates to give.

    Returns:
        For each mask, in order, its candidates, the most probable first.

    Raises:
        UsageError: a model with a decoder, a tokenizer without mask token, a text without mask or with too many tokens.

    Example:
        >>> from trifold.presets.pretrained import Transformer as Pretrained
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["to be or not to be"], kind="character", vocab_size=32, num_sentinels=2)
        >>> model = Pretrained.from_preset("bert", size="tiny", vocab_size=tokenizer.vocab_size)
        >>> [len(candidates) for candidates in fill_mask(model, tokenizer, "to [MASK]e or n[MASK]t", top_k=3)]
        [3, 3]
    """
    if model.config.decoder is not None:
        raise UsageError("generation.not_encoder_only")
    mask = tokenizer.special.mask
    if mask is None:
        raise UsageError("generation.no_mask_token")
    ids = tokenizer.encode(_spell(text, tokenizer, mask), special=True).ids.tolist()
    places = [place for place, token in enumerate(ids) if token == mask]
    if not places:
        raise UsageError("generation.no_mask", text=text[:80], mask=SPELLINGS[0])
    longest = model.config.max_length
    if longest is not None and len(ids) > longest:
        raise UsageError("generation.input_too_long", length=len(ids), limit=longest)
    with evaluating(model), torch.inference_mode():
        tokens = torch.tensor([ids], device=model.embedding.tokens.weight.device)
        logits = model.head(model.encode(tokens)[0, places])[:, : tokenizer.vocab_size]
        best = logits.float().softmax(-1).topk(min(top_k, logits.shape[-1]), dim=-1)
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [[Candidate(tokenizer.spell(i), i, p) for i, p in zip(*row, strict=True)] for row in rows]


def _spell(text: str, tokenizer: Tokenizer, mask: int) -> str:
    """The text with its masks in the tokenizer's own spelling."""
    own = tokenizer.decode([mask], skip_special=False).strip()
    for spelling in SPELLINGS:
        text = text.replace(spelling, own)
    return text
