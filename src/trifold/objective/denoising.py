"""Replace spans by sentinels; write out what they held."""

import numpy as np
from numpy.typing import NDArray

from trifold.batch import Batch, Loss
from trifold.example import Ids, Piece, TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import config
from trifold.objective.objective import Specials, language_model_loss
from trifold.text import Tokenizer

__all__ = ["Denoising", "count_spans", "draw_spans"]


class Denoising:
    """T5's objective. Of `a b c d e` with the span `b c`: source `a <0> d e </s>`, target `<0> b c <1> </s>`."""

    kind = "denoising"
    needs_words, draws = False, True
    suffix: tuple[int, ...] = ()

    def __init__(self, denoising: config.Denoising, tokenizer: Tokenizer, model: model_config.Transformer) -> None:
        specials = Specials(tokenizer, self.kind)
        specials.check_model(model, encoder=True, decoder=True)
        self.config = denoising
        self.eos, self.start = specials.get("eos"), specials.get(model.start)
        self.sentinels = np.array(specials.sentinels(2))

    def piece_length(self, length: int) -> int:
        """The most raw tokens whose corrupted form fits `length` places."""
        return max(raw for raw in range(1, 2 * length + 2) if self._lengths(raw)[0] <= length or raw == 1)

    def target_length(self, length: int) -> int:
        """Places of the target of a full piece, and a third more: short documents hide a larger part of themselves."""
        return -(-4 * self._lengths(self.piece_length(length))[1] // 3)

    def _lengths(self, raw: int) -> tuple[int, int]:
        """Places of source and target that `raw` tokens give; exact, whatever the spans."""
        hidden, spans = count_spans(raw, self.config, len(self.sentinels))
        return raw - hidden + spans + 1, hidden + spans + 2

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """One pair; a piece of a single token, which cannot be corrupted and kept, gives none."""
        if len(piece.ids) < 2:
            return []
        begins, ends = draw_spans(len(piece.ids), self.config, len(self.sentinels), rng)
        source, target = _corrupt(piece.ids, begins, ends, self.sentinels)
        labels = np.append(target, self.eos)
        shifted = np.concatenate([[self.start], labels[:-1]])
        return [TrainingExample(labels=labels, source=np.append(source, self.eos), target=shifted)]

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the target."""
        return language_model_loss(model, batch)


def count_spans(length: int, denoising: config.Denoising, num_sentinels: int) -> tuple[int, int]:
    """How many of `length` tokens are hidden, and in how many spans; one sentinel stays for the end of the target.

    Example:
        >>> count_spans(100, config.Denoising(), 100)
        (15, 5)
    """
    hidden = min(max(round(length * denoising.rate), 1), max(length - 1, 1))
    spans = max(round(hidden / denoising.mean_span), 1)
    return hidden, min(spans, max(length - hidden, 1), num_sentinels - 1)


def draw_spans(
    length: int, denoising: config.Denoising, num_sentinels: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begins and ends of random spans: hidden and kept tokens are each parted at random into as many runs.

    The text begins with a kept run, so no two spans touch.

    Example:
        >>> begins, ends = draw_spans(20, config.Denoising(), 10, np.random.default_rng(0))
        >>> int((ends - begins).sum())
        3
    """
    hidden, spans = count_spans(length, denoising, num_sentinels)
    runs = np.empty(2 * spans, dtype=np.int64)
    runs[0::2], runs[1::2] = _part(length - hidden, spans, rng), _part(hidden, spans, rng)
    ends = np.cumsum(runs)[1::2]
    return ends - runs[1::2], ends


def _part(total: int, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`total` as an ordered sum of `parts` whole numbers from 1, all sums alike likely."""
    cuts = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1 if parts > 1 else np.zeros(0, np.int64)
    return np.diff(np.concatenate([[0], cuts, [total]]))


def _corrupt(ids: Ids, begins: Ids, ends: Ids, sentinels: Ids) -> tuple[Ids, Ids]:
    source, target, place = [], [], 0
    for number, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        mark = sentinels[number : number + 1]
        source += [ids[place:begin], mark]
        target += [mark, ids[begin:end]]
        place = end
    return np.concatenate([*source, ids[place:]]), np.concatenate([*target, sentinels[len(begins) : len(begins) + 1]])
