"""Several objectives, one drawn for each piece."""

import numpy as np

from trifold.batch import Batch, Loss
from trifold.errors import ConfigError
from trifold.example import Piece, TrainingExample
from trifold.model import Transformer
from trifold.objective.objective import Objective, language_model_loss

__all__ = ["Mixture"]


class Mixture:
    """Draws an objective for each piece, by weight.

    Args:
        parts: objectives that suit the same model.
        weights: how often to draw each, relative to the others.

    Raises:
        ConfigError: the parts add different tokens to a document's end.
    """

    kind = "mixture"
    draws = True

    def __init__(self, parts: list[Objective], weights: tuple[float, ...]) -> None:
        self.parts = parts
        self.chances = np.array(weights) / sum(weights)
        self.needs_words = any(objective.needs_words for objective in parts)
        self.suffix = parts[0].suffix
        if any(objective.suffix != self.suffix for objective in parts):
            raise ConfigError("objective.mixed_ends", given=", ".join(objective.kind for objective in parts))

    def piece_length(self, length: int) -> int:
        """The least that any part can take."""
        return min(part.piece_length(length) for part in self.parts)

    def target_length(self, length: int) -> int:
        """The most that any part needs."""
        return max(part.target_length(length) for part in self.parts)

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """Examples of the objective that is drawn."""
        return self.parts[rng.choice(len(self.parts), p=self.chances)].prepare(piece, rng)

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of whatever the parts want predicted."""
        return language_model_loss(model, batch)
