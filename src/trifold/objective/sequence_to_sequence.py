"""Read a source, write its target."""

import numpy as np

from trifold.batch import Batch, Loss
from trifold.errors import ConfigError, DataError
from trifold.example import Piece, TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import config
from trifold.objective.objective import Specials, language_model_loss
from trifold.text import Tokenizer

__all__ = ["SequenceToSequence"]


class SequenceToSequence:
    """Pairs for an encoder-decoder: the source with its end token; the target shifted behind the start token."""

    kind = "sequence_to_sequence"
    needs_words = draws = False
    suffix: tuple[int, ...] = ()

    def __init__(self, pairs: config.SequenceToSequence, tokenizer: Tokenizer, model: model_config.Transformer) -> None:
        specials = Specials(tokenizer, self.kind)
        specials.check_model(model, encoder=True, decoder=True)
        self.config, self.eos, self.start = pairs, specials.get("eos"), specials.get(model.start)

    def piece_length(self, length: int) -> int:
        """A pair is never cut into pieces."""
        return length

    def target_length(self, length: int) -> int:
        """As long as the source."""
        return length

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """One pair; its sides cut or refused where they are too long for their rows."""
        del rng
        if piece.target is None:
            raise ConfigError("objective.needs_pairs")
        source, target = self._fit(piece.ids, piece.room[0]), self._fit(piece.target, piece.room[1])
        labels = np.append(target, self.eos)
        return [
            TrainingExample(
                labels=labels, source=np.append(source, self.eos), target=np.concatenate([[self.start], labels[:-1]])
            )
        ]

    def _fit(self, ids: np.ndarray, limit: int) -> np.ndarray:
        if limit and len(ids) >= limit:
            if self.config.too_long == "refuse":
                raise DataError("data.too_long", path=self.kind, given=len(ids) + 1, limit=limit)
            return ids[: limit - 1]
        return ids

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the target."""
        return language_model_loss(model, batch)
