"""How long a step takes: a few real ones, on random tokens in the shape of the run's."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from trifold.batch import Batch, Layout
from trifold.model import config as model_config
from trifold.objective import config as objectives
from trifold.objective.objective import language_model_loss
from trifold.presets.pretrained import Transformer
from trifold.training.config import Training
from trifold.training.experiment import Experiment
from trifold.training.plan import Shape
from trifold.training.trainer import Trainer

__all__ = ["count_steps", "places_of", "step_seconds"]

STEPS, WARM = 3, 1


def places_of(experiment: Experiment, shape: model_config.Transformer) -> Shape:
    """Places and labels in a full row."""
    length, wanted = experiment.training.length, experiment.objective
    source = length if shape.encoder is not None else 0
    target, labels = (length if shape.decoder is not None else 0), length
    if isinstance(wanted, objectives.Masked):
        labels = math.ceil(length * wanted.rate)
    if source and target:
        if isinstance(wanted, objectives.Denoising):
            raw = length / (1 - wanted.rate * (1 - 1 / wanted.mean_span))
            target = math.ceil(raw * wanted.rate * (1 + 1 / wanted.mean_span)) + 2
        target = experiment.training.target_length or target
        labels = target
    return Shape(rows=experiment.training.batch_size, source=source, target=target, labels=labels)


class _Random:
    """The same batch of random tokens, again and again."""

    def __init__(self, shape: model_config.Transformer, places: Shape) -> None:
        generator = torch.Generator().manual_seed(0)

        def side(length: int) -> tuple[torch.Tensor | None, Layout | None]:
            if not length:
                return None, None
            tokens = torch.randint(0, shape.vocab_size, (places.rows, length), generator=generator)
            return tokens, Layout.whole(places.rows, length)

        (source, source_layout), (target, target_layout) = side(places.source), side(places.target)
        width = places.target or places.source
        labels = torch.full((places.rows, width), -100)
        labels[:, : places.labels] = torch.randint(
            0, shape.vocab_size, (places.rows, places.labels), generator=generator
        )
        self.batch = Batch(source, target, source_layout, target_layout, labels)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.batch

    def state_dict(self) -> dict[str, int]:
        """It has no place."""
        return {}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """It has no place."""


class _Loss:
    """The loss that all objectives share."""

    kind = "forecast"
    loss = staticmethod(language_model_loss)


def step_seconds(experiment: Experiment, shape: model_config.Transformer, places: Shape) -> float:
    """Seconds of an optimizer step, the best of a few: what the machine does when nobody disturbs it."""
    training = replace(
        experiment.training, steps=STEPS + WARM, tokens=None, minutes=None, compile=False, tensorboard=False
    )
    trainer = Trainer(Transformer(shape), _Loss(), _Random(shape, places), training)  # type: ignore[arg-type]
    marks = [step.seconds for step in trainer.steps()]
    return min(later - earlier for earlier, later in zip(marks[WARM - 1 :], marks[WARM:], strict=False))


def count_steps(training: Training, places: Shape, seconds: float | None) -> int | None:
    """How many steps a run has; None where its length is a time and nobody knows how long a step takes.

    Args:
        training: how long.
        places: of a batch.
        seconds: that a step takes.

    Example:
        >>> count_steps(Training(minutes=1), Shape(rows=1, source=0, target=8, labels=8), 0.5)
        120
    """
    if training.steps is not None:
        return training.steps
    if training.tokens is not None:
        return math.ceil(training.tokens / (places.labels * training.batch_size * training.accumulation))
    return None if seconds is None or training.minutes is None else int(training.minutes * 60 / seconds)
