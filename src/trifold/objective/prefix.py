"""Read a prefix from both sides, then predict the rest."""

import numpy as np

from trifold.batch import IGNORED, Batch, Loss
from trifold.example import Piece, TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import config
from trifold.objective.objective import Specials, language_model_loss
from trifold.text import Tokenizer

__all__ = ["Prefix"]


class Prefix:
    """In a decoder the prefix is seen whole by all; beside an encoder it is what the encoder reads."""

    kind = "prefix"
    needs_words, draws = False, True

    def __init__(self, prefix: config.Prefix, tokenizer: Tokenizer, model: model_config.Transformer) -> None:
        specials = Specials(tokenizer, self.kind)
        self.paired = model.encoder is not None
        specials.check_model(model, encoder=self.paired, decoder=True)
        self.config, self.eos = prefix, specials.get("eos")
        self.start = specials.get(model.start) if self.paired else specials.get("bos")
        self.suffix: tuple[int, ...] = () if self.paired else (self.eos,)

    def piece_length(self, length: int) -> int:
        """In a decoder one label a place; beside an encoder, whatever the longest prefix leaves in its row."""
        return max(int((length - 1) / max(self.config.longest, 1e-6)), 2) if self.paired else length

    def target_length(self, length: int) -> int:
        """Room for the longest rest."""
        raw = self.piece_length(length)
        return raw - int(raw * self.config.shortest) + 1 if self.paired else 0

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """The piece, parted at a random place."""
        part = rng.uniform(self.config.shortest, self.config.longest)
        kept = min(max(int(len(piece.ids) * part), 1), len(piece.ids) - 1)
        if kept < 1:
            return []
        if self.paired:
            labels = np.append(piece.ids[kept:], self.eos)
            target = np.concatenate([[self.start], labels[:-1]])
            return [TrainingExample(labels=labels, source=np.append(piece.ids[:kept], self.eos), target=target)]
        first = self.start if piece.previous is None else piece.previous
        labels = piece.ids.copy()
        labels[: kept - 1] = IGNORED  # the last token of the prefix predicts the first of the rest
        target = np.concatenate([[first], piece.ids[:-1]])
        return [TrainingExample(labels=labels, target=target, prefix=kept)]

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the rest."""
        return language_model_loss(model, batch)
