"""Hide some tokens; predict them from both sides."""

import numpy as np
from numpy.typing import NDArray

from trifold.batch import IGNORED, Batch, Loss
from trifold.example import Ids, Piece, TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import config
from trifold.objective.objective import Specials, language_model_loss
from trifold.text import Tokenizer

__all__ = ["Masked", "choose_words"]


class Masked:
    """BERT's objective: of the chosen tokens 80 % are masked, 10 % replaced at random, 10 % kept; all are predicted."""

    kind = "masked"
    draws = True
    suffix: tuple[int, ...] = ()

    def __init__(self, masked: config.Masked, tokenizer: Tokenizer, model: model_config.Transformer) -> None:
        specials = Specials(tokenizer, self.kind)
        specials.check_model(model, encoder=True, decoder=False)
        self.config, self.needs_words = masked, masked.whole_word
        self.mask, self.cls, self.sep = (specials.get(name) for name in ("mask", "cls", "sep"))
        self.ordinary = np.setdiff1d(np.arange(tokenizer.vocab_size), tokenizer.special.all_ids)

    def piece_length(self, length: int) -> int:
        """Two places are for the tokens around the text."""
        return max(length - 2, 1)

    def target_length(self, length: int) -> int:
        """There is no second side."""
        del length
        return 0

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """The piece between its two marks, some of it hidden."""
        starts = piece.word_starts if self.config.whole_word else None
        chosen = choose_words(len(piece.ids), self.config.rate, starts, rng)
        source = np.concatenate([[self.cls], self._hide(piece.ids, chosen, rng), [self.sep]])
        labels = np.full(len(source), IGNORED, dtype=np.int64)
        labels[1 + chosen] = piece.ids[chosen]
        return [TrainingExample(labels=labels, source=source)]

    def _hide(self, ids: Ids, chosen: NDArray[np.int64], rng: np.random.Generator) -> Ids:
        hidden, chance = ids.copy(), rng.random(len(chosen))
        masked = chance < self.config.mask_share
        replaced = ~masked & (chance < self.config.mask_share + self.config.random_share)
        hidden[chosen[masked]] = self.mask
        hidden[chosen[replaced]] = rng.choice(self.ordinary, size=int(replaced.sum()))
        return hidden

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the hidden tokens."""
        return language_model_loss(model, batch)


def choose_words(
    length: int, rate: float, word_starts: NDArray[np.bool_] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Places to predict: `rate` of all (at least one), by whole words where `word_starts` says where they begin.

    Words are taken in random order until the number of tokens is reached; one that would exceed it is passed over.

    Example:
        >>> starts = np.array([True, False, True, True])
        >>> len(choose_words(4, 0.5, starts, np.random.default_rng(0)))
        2
    """
    budget = max(1, round(length * rate))
    if word_starts is None:
        return np.sort(rng.choice(length, size=min(budget, length), replace=False))
    begins = np.flatnonzero(word_starts)
    if len(begins) == 0 or begins[0] != 0:
        begins = np.concatenate([[0], begins])  # a piece may begin inside a word
    ends = np.append(begins[1:], length)
    order = rng.permutation(len(begins))
    sizes = (ends - begins)[order]
    taken: list[int] = []
    left = budget
    for word, size in zip(order.tolist(), sizes.tolist(), strict=True):
        if size <= left or not taken:
            taken += range(int(ends[word]) - size, int(ends[word]))
            left -= size
        if left <= 0:
            break
    return np.sort(np.array(taken, dtype=np.int64))
