"""What every objective offers: examples from text, and a loss from examples."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from trifold.batch import Batch, Loss
from trifold.errors import ConfigError, UsageError
from trifold.example import Piece, TrainingExample
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective.cross_entropy import sum_cross_entropy
from trifold.text import Tokenizer

__all__ = ["Criterion", "Objective", "Specials", "language_model_loss"]


@runtime_checkable
class Criterion(Protocol):
    """All that a trainer asks: the loss of a batch."""

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """The summed loss of a batch."""
        ...


@runtime_checkable
class Objective(Criterion, Protocol):
    """Prepares examples and measures the loss on them.

    Attributes:
        kind: its name in configurations.
        suffix: ids that the loader adds to the end of each document before cutting it.
        needs_words: whether pieces must come with their word starts.
        draws: whether examples depend on chance.
    """

    kind: str
    suffix: tuple[int, ...]
    needs_words: bool
    draws: bool

    def piece_length(self, length: int) -> int:
        """How many tokens of a document fill a row of `length` places on the model's first side."""
        ...

    def target_length(self, length: int) -> int:
        """How many places the decoder needs beside an encoder's row of `length`; 0 where there is one side only."""
        ...

    def prepare(self, piece: Piece, rng: np.random.Generator) -> list[TrainingExample]:
        """Examples from one piece of a document."""
        ...


def language_model_loss(model: Transformer, batch: Batch) -> Loss:
    """Summed cross-entropy of the labels, for every objective that predicts tokens.

    Raises:
        UsageError: the batch has no labels.
    """
    if batch.labels is None:
        raise UsageError("objective.no_labels")
    total, count = sum_cross_entropy(model.head, model(batch), batch.labels)
    return Loss(total, count, {"bytes": batch.num_bytes} if batch.num_bytes else {})


@dataclass(frozen=True, slots=True)
class Specials:
    """The special ids that objectives use, known to be there.

    Raises:
        ConfigError: when a missing one is asked for; says which objective wants it.
    """

    tokenizer: Tokenizer
    objective: str

    def get(self, name: str) -> int:
        """The id of `bos`, `eos`, `pad`, `mask`, `cls` or `sep`."""
        token_id = getattr(self.tokenizer.special, name)
        if token_id is None:
            raise ConfigError("objective.no_special", objective=self.objective, name=name)
        return token_id

    def sentinels(self, least: int) -> tuple[int, ...]:
        """All sentinels; at least `least` of them."""
        sentinels = self.tokenizer.special.sentinels
        if len(sentinels) < least:
            raise ConfigError("objective.few_sentinels", given=len(sentinels), least=least)
        return sentinels

    def check_model(self, model: model_config.Transformer, *, encoder: bool, decoder: bool) -> None:
        """Refuse a model without the needed stacks, with a smaller vocabulary, or padding that equals the end."""
        has = (model.encoder is not None, model.decoder is not None)
        if has != (encoder, decoder):
            names = {(True, False): "encoder", (False, True): "decoder", (True, True): "encoder-decoder"}
            raise ConfigError(
                "objective.wrong_model", objective=self.objective, given=names[has], needed=names[encoder, decoder]
            )
        if self.tokenizer.vocab_size > model.vocab_size:
            raise ConfigError("objective.small_model", given=model.vocab_size, needed=self.tokenizer.vocab_size)
        special = self.tokenizer.special
        if special.pad is not None and special.pad == special.eos:
            raise ConfigError("objective.pad_is_eos", given=special.pad)
