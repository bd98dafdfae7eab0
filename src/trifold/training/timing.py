"""How long a step takes: a few real ones, on a batch of the run's or on random tokens in the shape of it."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from trifold.batch import Batch, Layout
from trifold.model import config as model_config
from trifold.objective import Criterion
from trifold.objective import config as objectives
from trifold.objective.objective import language_model_loss
from trifold.presets.pretrained import Transformer
from trifold.training.config import Training
from trifold.training.experiment import Experiment
from trifold.training.plan import Shape
from trifold.training.step import Batches, Step
from trifold.training.trainer import Trainer

__all__ = ["StepTime", "count_steps", "places_of", "time_batches", "time_step"]

STEPS, WARM, LONG = 3, 1, 4.0
"""Steps that are timed after the first, and seconds after which they are enough."""
LED, BUSY, GAIN = 0.8, 1.25, 1.6
"""The part of a step that its leading thread computes on a free machine, or more; how much slower is worth saying; and how
much faster twice as many threads are (measured: `python -m benchmarks threads`)."""


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


def _random_batch(shape: model_config.Transformer, places: Shape) -> Batch:
    """Random tokens in every place."""
    generator = torch.Generator().manual_seed(0)

    def side(length: int) -> tuple[torch.Tensor | None, Layout | None]:
        if not length:
            return None, None
        tokens = torch.randint(0, shape.vocab_size, (places.rows, length), generator=generator)
        return tokens, Layout.whole(places.rows, length)

    (source, source_layout), (target, target_layout) = side(places.source), side(places.target)
    width = places.target or places.source
    labels = torch.full((places.rows, width), -100)
    labels[:, : places.labels] = torch.randint(0, shape.vocab_size, (places.rows, places.labels), generator=generator)
    return Batch(source, target, source_layout, target_layout, labels)


class _Again:
    """The same batch, again and again."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

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


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of an optimizer step.

    Attributes:
        free: where nobody else computes.
        now: beside what else computes at the moment.

    Example:
        >>> StepTime(free=0.4, now=6.0).busy
        True
    """

    free: float
    now: float

    @property
    def busy(self) -> bool:
        """Whether other work makes a difference that is worth saying."""
        return self.now > BUSY * self.free


def time_step(experiment: Experiment, shape: model_config.Transformer, places: Shape) -> StepTime:
    """How long a step of an experiment takes, with random weights and random tokens; see `time_batches`."""
    batches = _Again(_random_batch(shape, places))
    return time_batches(Transformer(shape), _Loss(), batches, experiment.training)  # type: ignore[arg-type]


def time_batches(
    model: Transformer,
    objective: Criterion,
    batches: Batches,
    training: Training,
    *,
    steps: int = STEPS,
    middle: Callable[[Sequence[float]], float] = min,
) -> StepTime:
    """How long a step takes on this machine, and how long it would if the machine were free.

    A few steps are timed. Where the thread that leads them had to wait for a core, wall-clock time says little: threads
    that wait for one another make two busy cores thirty times slower. Then the steps are repeated with one thread, whose
    processor time other work hardly changes (measured: 0.63 to 0.69 s a step where the clock said 0.7 to 6.3 s), and the
    gain of several threads is taken as measured once.

    Args:
        model: is trained by it.
        objective: gives the loss of a batch.
        batches: that are trained on.
        training: how; its length does not count.
        steps: that are timed, or fewer where they take long.
        middle: what stands for them all: of steps on the same batch the shortest, of others the median.
    """
    training = replace(training, steps=2 * (WARM + steps), tokens=None, minutes=None, compile=False, tensorboard=False)
    trainer = Trainer(model, objective, batches, training)
    stream = trainer.steps()
    walls, led = _repeat(stream, steps, time.thread_time)
    threads = torch.get_num_threads()
    if trainer.device.type != "cpu" or sum(led) >= LED * sum(walls):
        return StepTime(middle(walls), statistics.median(walls))
    if threads > 1:
        torch.set_num_threads(1)
        try:
            _, led = _repeat(stream, steps, time.process_time)
        finally:
            torch.set_num_threads(threads)
    return StepTime(min(middle(walls), middle(led) / GAIN ** math.log2(threads)), statistics.median(walls))


def _repeat(stream: Iterator[Step], steps: int, processor: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Seconds of a few steps after the first, by the clock and of the processor; fewer where they take long."""
    walls: list[float] = []
    used: list[float] = []
    for _ in range(WARM):
        next(stream)
    while len(walls) < steps and sum(walls) < LONG:
        start, before = time.perf_counter(), processor()
        next(stream)
        walls.append(time.perf_counter() - start)
        used.append(processor() - before)
    return walls, used


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
        return math.ceil(training.tokens / (places.labels * places.rows * training.accumulation))
    return None if seconds is None or training.minutes is None else int(training.minutes * 60 / seconds)
