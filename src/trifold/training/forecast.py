"""What a run will take on this machine and what to expect of it: counted from its configuration, timed by a few steps."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from trifold.data.source import list_files
from trifold.model.config import Transformer
from trifold.text import Tokenizer
from trifold.training.config import Training
from trifold.training.experiment import DataChoice, Experiment
from trifold.training.fit import UNKNOWN, Text, advise
from trifold.training.plan import (
    Memory,
    Shape,
    available_memory,
    count_parameters,
    estimate_memory,
    require_memory,
    training_flops,
)
from trifold.training.precision import choose_device, choose_dtype
from trifold.training.prepare import shape_of
from trifold.training.timing import StepTime, count_steps, places_of, time_step

__all__ = ["Forecast", "expect", "forecast", "foresee", "is_long", "memory_of"]

WORTH_STEPS, WORTH_MINUTES = 100, 0.5
"""Of a run that is long enough for a few steps to be timed before it."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run needs, and what to expect of it.

    Attributes:
        parameters: in all; those of the embedding, the encoder, the decoder and the head follow.
        memory: bytes at the peak; those available beside it.
        step_flops: operations of an optimizer step.
        step_seconds: of one, on a machine that does nothing else; None where that was not timed.
        step_seconds_now: of one, beside what else the machine does.
        steps, target_tokens, flops, seconds: of the whole run, on a free machine; None where that was not timed, and the
            length is given in minutes or asked for in seconds.
        seconds_now: of all its steps, beside what else the machine does.
        tokens_per_second: target tokens, on a free machine.
        epochs: how often the text is read; None where its size is not known.
        best_step: from which on the text is learned by heart; the last one where that does not come.
        better_size: of the family, that suits the text and the length; None where it is the run's own, or none is open.
        better_parameters: of that size, beside those of the vocabulary, for each of the run's own.
        examples_per_second: of fine-tuning, on a free machine; None in pre-training, which has no examples.
        evaluations: how often a fine-tuning looks at dev examples.
        evaluation_seconds: that this takes in all, on a free machine: a look at an example costs a third of a step on it.
        linear_seconds: that the linear model before the first step takes to fit; None where there is none.
    """

    parameters: int
    embedding: int
    encoder: int
    decoder: int
    head: int
    memory: int
    available_bytes: int
    step_flops: float
    step_seconds: float | None
    step_seconds_now: float | None
    steps: int | None
    target_tokens: int | None
    flops: float | None
    seconds: float | None
    seconds_now: float | None
    tokens_per_second: float | None
    epochs: float | None = None
    best_step: int | None = None
    better_size: str | None = None
    better_parameters: float | None = None
    examples_per_second: float | None = None
    evaluations: int | None = None
    evaluation_seconds: float | None = None
    linear_seconds: float | None = None

    def as_dict(self) -> dict[str, float | int | str | None]:
        """All of it by name."""
        return asdict(self)

    @property
    def step_time(self) -> StepTime | None:
        """What was timed."""
        if self.step_seconds is None or self.step_seconds_now is None:
            return None
        return StepTime(self.step_seconds, self.step_seconds_now)

    @property
    def whole_seconds(self) -> float | None:
        """Of the steps and of all that is timed beside them, on a free machine."""
        return (
            None
            if self.seconds is None
            else sum((self.seconds, self.linear_seconds or 0, self.evaluation_seconds or 0))
        )


def forecast(experiment: Experiment, *, measure: bool = True, tokenizer: Tokenizer | None = None) -> Forecast:
    """Count, and time a few steps on random tokens of the right shape.

    Args:
        experiment: the run.
        measure: time steps; without it, a length in minutes tells no number of steps.
        tokenizer: the one that is used; None before there is one.

    Raises:
        CapacityError: the model does not fit in memory.
        ConfigError: the experiment is not possible.
    """
    shape = shape_of(experiment, tokenizer)
    require_memory(_memory(experiment, shape), available_memory())
    timed = time_step(experiment, shape, places_of(experiment, shape)) if measure else None
    return _expect(experiment, shape, _text(experiment.data), timed)


def foresee(experiment: Experiment, shape: Transformer, text: Text, *, measure: bool) -> Forecast:
    """The forecast that a run begins with; steps are timed where they are few beside the run's, and the model fits twice.

    Args:
        experiment: the run.
        shape: of its model.
        text: what it trains on.
        measure: whether steps may be timed.

    Raises:
        ConfigError: the experiment is not possible.
    """
    places = places_of(experiment, shape)
    fits = 2 * _memory(experiment, shape).total <= available_memory()
    worth = measure and fits and is_long(experiment.training, places)
    timed = time_step(experiment, shape, places) if worth else None
    return _expect(experiment, shape, text, timed)


def is_long(training: Training, places: Shape) -> bool:
    """Whether a few timed steps are few beside those of a run."""
    if training.minutes is not None:
        return training.minutes >= WORTH_MINUTES
    return (count_steps(training, places, None) or 0) >= WORTH_STEPS


def _memory(experiment: Experiment, shape: Transformer) -> Memory:
    return memory_of(shape, places_of(experiment, shape), experiment.training)


def memory_of(shape: Transformer, places: Shape, training: Training, *, trained: float = 1.0) -> Memory:
    """Bytes that a run needs at its peak.

    Args:
        shape: of its model.
        places: of its largest batch.
        training: how it trains.
        trained: the part of the parameters that moves.
    """
    lean = choose_dtype(training.dtype, choose_device(training.device)) is torch.bfloat16
    return estimate_memory(
        shape,
        places,
        dtype="bfloat16" if lean else "float32",
        optimizer=training.optimizer.kind,
        checkpointing=training.gradient_checkpointing,
        trained=trained,
    )


def _expect(experiment: Experiment, shape: Transformer, text: Text, timed: StepTime | None) -> Forecast:
    places, training = places_of(experiment, shape), experiment.training
    expected = expect(shape, places, training, timed, memory=_memory(experiment, shape))
    if expected.steps is None:
        return expected
    rows = training.batch_size * training.accumulation
    speed = None if timed is None else training_flops(shape, places) * rows / timed.free
    advice = advise(experiment, shape, text, speed)
    return replace(
        expected,
        epochs=advice.epochs,
        best_step=advice.best_step,
        better_size=advice.size,
        better_parameters=None if advice.size is None else advice.parameters,
    )


def expect(
    shape: Transformer, places: Shape, training: Training, timed: StepTime | None, *, memory: Memory
) -> Forecast:
    """What follows from a model's shape, a batch and the time of a step, whatever is trained.

    Args:
        shape: of the model.
        places: of a batch.
        training: how long.
        timed: how long a step takes; None where that is not known.
        memory: that it needs.
    """
    count, rows = count_parameters(shape), places.rows * training.accumulation
    step_flops = training_flops(shape, places, checkpointing=training.gradient_checkpointing) * rows
    steps = count_steps(training, places, None if timed is None else timed.free)
    return Forecast(
        parameters=count.total,
        embedding=count.embedding,
        encoder=count.encoder,
        decoder=count.decoder,
        head=count.head,
        memory=memory.total,
        available_bytes=available_memory(),
        step_flops=step_flops,
        step_seconds=None if timed is None else timed.free,
        step_seconds_now=None if timed is None else timed.now,
        steps=steps,
        target_tokens=None if steps is None else steps * places.labels * rows,
        flops=None if steps is None else steps * step_flops,
        seconds=None if timed is None or steps is None else steps * timed.free,
        seconds_now=None if timed is None or steps is None else steps * timed.now,
        tokens_per_second=None if timed is None else places.labels * rows / timed.free,
    )


def _text(data: DataChoice) -> Text:
    """The training text, by the size of its files; unknown from the hub, standard input and where it is packed."""
    total = 0
    for name in data.paths:
        path = Path(name)
        files = list_files(path) if path.is_dir() else [path]
        if not all(file.is_file() and file.suffix not in (".gz", ".zst", ".parquet") for file in files):
            return Text(UNKNOWN, whole=False)
        total += sum(file.stat().st_size for file in files)
    return Text(total) if total else Text(UNKNOWN, whole=False)
