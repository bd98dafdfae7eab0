"""Predict the next token."""

import numpy as np

from trifold.batch import Batch, Loss
from trifold.example import Piece, TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import config
from trifold.objective.objective import Specials, language_model_loss
from trifold.text import Tokenizer

__all__ = ["Causal"]


class Causal:
    """`labels[i]` is the token after `target[i]`; a document begins with the start token and ends with the end token.

    Where the tokenizer puts nothing before a text, as GPT-2's and Qwen2's do, the first token of a document is read and not
    predicted.
    """

    kind = "causal"
    needs_words = draws = False

    def __init__(self, _: config.Causal, tokenizer: Tokenizer, model: model_config.Transformer) -> None:
        specials = Specials(tokenizer, self.kind)
        specials.check_model(model, encoder=False, decoder=True)
        first = tokenizer.framing_for(encoder=False, decoder=True).first
        self.start, self.suffix = first[-1:], (specials.get("eos"),)

    def piece_length(self, length: int) -> int:
        """One label for each place."""
        return length

    def target_length(self, length: int) -> int:
        """There is no second side."""
        del length
        return 0

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """The piece as labels, and the same shifted by one as input."""
        del rng
        before = self.start if piece.previous is None else (piece.previous,)
        ids = np.concatenate([np.array(before, dtype=np.int64), piece.ids])
        return [TrainingExample(labels=ids[1:], target=ids[:-1])] if len(ids) > 1 else []

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the next tokens."""
        return language_model_loss(model, batch)
