"""Shuffle sentences and put one mask in place of each of some spans; write the whole text as it was."""

import numpy as np
from numpy.typing import NDArray

from trifold.batch import Batch, Loss
from trifold.example import Ids, Piece, TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import config
from trifold.objective.objective import Specials, language_model_loss
from trifold.text import Tokenizer

__all__ = ["Infilling", "Sentences", "draw_span_lengths", "fill_in"]

MARKS = (".", "!", "?", "。", "！", "？")
"""What ends a sentence."""

CLOSERS = ('"', "'", ")", "”", "’", "」", "』", "）")
"""What belongs to a sentence that has ended."""

SPACES = "Ġ▁"
"""How a space before a word is spelled in a token."""


class Infilling:
    """BART's objective. Of `a b . c d e` with the span `d`: source `c <mask> e a b . </s>`, labels `a b . c d e </s>`."""

    kind = "infilling"
    needs_words, draws = False, True
    suffix: tuple[int, ...] = ()

    def __init__(self, infilling: config.Infilling, tokenizer: Tokenizer, model: model_config.Transformer) -> None:
        specials = Specials(tokenizer, self.kind)
        specials.check_model(model, encoder=True, decoder=True)
        self.config, self.sentences = infilling, Sentences(tokenizer)
        self.mask, self.start = specials.get("mask"), specials.get(model.start)
        framing = tokenizer.framing_for(encoder=True, decoder=True)
        self.first, self.last = framing.first, framing.last or (specials.get("eos"),)

    def piece_length(self, length: int) -> int:
        """What stands around a text has its places; the text itself is never longer for its masks."""
        return max(length - len(self.first) - len(self.last), 1)

    def target_length(self, length: int) -> int:
        """The text whole, and what stands around it."""
        return max(length, 1 + len(self.first) + len(self.last))

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """One pair; a piece of a single token, of which nothing would be left, gives none."""
        if len(piece.ids) < 2:
            return []
        shuffled = self.sentences.shuffle(piece.ids, self.config.permuted, rng)
        source = self._around(fill_in(shuffled, self.config, self.mask, rng))
        labels = self._around(piece.ids)
        return [TrainingExample(labels=labels, source=source, target=np.concatenate([[self.start], labels[:-1]]))]

    def _around(self, ids: Ids) -> Ids:
        return np.concatenate([self.first, ids, self.last]).astype(np.int64)

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the whole text."""
        return language_model_loss(model, batch)


def draw_span_lengths(hidden: int, mean: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lengths by Poisson's law, some of them 0, that hide so many tokens together; the last is cut to what is left.

    Example:
        >>> int(draw_span_lengths(30, 3.0, np.random.default_rng(0)).sum())
        30
    """
    ends = np.minimum(np.cumsum(rng.poisson(mean, hidden)), hidden)
    ends = ends[: int(np.searchsorted(ends, hidden)) + 1]
    ends[-1] = hidden
    return np.diff(ends, prepend=0)


def fill_in(ids: Ids, infilling: config.Infilling, mask: int, rng: np.random.Generator) -> Ids:
    """The ids with one mask in place of each span, also of an empty one; masks and kept tokens stand in any order alike.

    Example:
        >>> filled = fill_in(np.arange(1, 11), config.Infilling(rate=0.3, mean_span=3.0), 0, np.random.default_rng(1))
        >>> int((filled > 0).sum())
        7
    """
    hidden = min(max(round(len(ids) * infilling.rate), 1), len(ids))
    lengths = draw_span_lengths(hidden, infilling.mean_span, rng)
    stands_for = np.ones(len(ids) - hidden + len(lengths), dtype=np.int64)
    places = rng.choice(len(stands_for), size=len(lengths), replace=False)
    stands_for[places] = lengths
    filled = ids[np.minimum(np.cumsum(stands_for) - stands_for, len(ids) - 1)]
    filled[places] = mask
    return filled


class Sentences:
    """Where sentences end in the ids of a tokenizer: at a full stop, an exclamation or a question mark, Chinese ones too.

    Args:
        tokenizer: whose ids they are.

    Example:
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["He said. 他说。"], kind="character", vocab_size=40, num_sentinels=2)
        >>> [tokenizer.decode(part) for part in Sentences(tokenizer).cut(tokenizer.encode("He said. 他说。").ids)]
        ['He said.', ' 他说。']
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        marks, closers = _spelled(tokenizer, MARKS), _spelled(tokenizer, CLOSERS)
        tokens = [(number, token) for token, number in tokenizer.backend.get_vocab(with_added_tokens=False).items()]
        self.marks = np.array([number for number, token in tokens if _ends(token, marks, closers)], dtype=np.int64)
        self.closers = np.array([number for number, token in tokens if token in closers], dtype=np.int64)
        self.runs = [run for run in marks.values() if len(run) > 1]

    def cut(self, ids: Ids) -> list[Ids]:
        """The sentences one after another; what follows the last end is one too."""
        ended = np.isin(ids, self.marks)
        for run in self.runs:  # a mark that the vocabulary spells by several tokens
            steps = [ids[place : len(ids) - len(run) + 1 + place] == one for place, one in enumerate(run)]
            ended[len(run) - 1 :] |= np.logical_and.reduce(steps)
        for place in np.flatnonzero(np.isin(ids, self.closers)):
            ended[place] |= place > 0 and ended[place - 1]
        return np.split(ids, np.flatnonzero(ended[:-1] & ~ended[1:]) + 1)

    def shuffle(self, ids: Ids, share: float, rng: np.random.Generator) -> Ids:
        """The ids with this share of the sentences in a random order, in the places of those same sentences."""
        parts = self.cut(ids)
        chosen = np.sort(rng.choice(len(parts), size=round(len(parts) * share), replace=False))
        order = np.arange(len(parts))
        order[chosen] = rng.permutation(chosen)
        return np.concatenate([parts[number] for number in order])


def _spelled(tokenizer: Tokenizer, texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """The tokens of each text, by their spellings joined; what the tokenizer cannot read is left out."""
    spelled = {}
    for text in texts:
        ids = [
            number for number in tokenizer.encode(text).ids.tolist() if str(tokenizer.id_to_token(number)) not in SPACES
        ]
        if ids and tokenizer.special.unk not in ids:
            spelled["".join(str(tokenizer.id_to_token(number)) for number in ids).lstrip(SPACES)] = tuple(ids)
    return spelled


def _ends(token: str, marks: dict[str, tuple[int, ...]], closers: dict[str, tuple[int, ...]]) -> bool:
    """Whether a token ends with a mark and perhaps with what closes after it."""
    closed = next((closer for closer in closers if token.endswith(closer) and len(token) > len(closer)), None)
    while closed is not None:
        token = token.removesuffix(closed)
        closed = next((closer for closer in closers if token.endswith(closer) and len(token) > len(closer)), None)
    return token.endswith(tuple(marks))
