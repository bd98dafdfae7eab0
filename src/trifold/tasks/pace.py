"""What a fine-tuning will take, how often it looks at dev examples on the way, and when it stops because nothing is gained.

A look at an example costs a third of a step on it, or twice that where a metric beside the loss is asked for. So many looks
are spread over a run as take a tenth of its time; where that is little, they are few before they are at few examples.
"""

import math
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Any

from trifold.batch import Batch
from trifold.tasks.experiment import FineTuning
from trifold.tasks.loader import ExampleLoader
from trifold.tasks.preparation import Ready, prepare
from trifold.training import Training
from trifold.training.description import read_description
from trifold.training.fit import EVALUATIONS, NOMINAL
from trifold.training.forecast import Forecast, expect, is_long, memory_of
from trifold.training.group import Alone
from trifold.training.memory import unchanged_random_state
from trifold.training.plan import Shape, available_memory, held_memory, require_memory
from trifold.training.run import Run
from trifold.training.timing import time_batches

__all__ = ["foresee_tuning", "paced", "plan_tuning"]

SHARE, STEP = 0.1, 3
"""The part of a run's time that looks may take, and how many of them at an example take as long as a step on it."""
USUAL, FEWEST = 10, 100
"""Looks, or more, and dev examples, or more, where there is time for them."""
LEAST_PATIENCE = 3
QUICKEST = 0.005
"""Seconds of a step, or more, where none was timed."""
PLANNED = 2000
"""Examples that a plan is made with: enough to know how long they are."""
DRAWN, TIMED = 32, 12
"""Batches whose sizes stand for all, and steps that are timed, which differ in size."""


def plan_tuning(experiment: FineTuning, *, measure: bool = True) -> Forecast:
    """What a fine-tuning will take on this machine.

    Its examples are read and its model is opened or made, as the run does it; a linear model is fitted to a part of them.

    Args:
        experiment: the run.
        measure: time steps; without it, a length in minutes tells no number of steps.

    Raises:
        CapacityError: the model does not fit in memory.
        ConfigError, DataError: the experiment is not possible.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), experiment, Alone(), resume=False, strict=False, allow=(), listen=lambda _: None)
        before = held_memory()
        ready = prepare(experiment, run, most=PLANNED)
    return _expect(ready, experiment, held_memory() - before, measure=measure, keep=False)


def foresee_tuning(run: Run, ready: Ready, experiment: FineTuning, held: int) -> Mapping[str, Any]:
    """The forecast that a run begins with, which is written down; of a run that goes on, what was written down then.

    Steps are timed where they are few beside the run's, and the model fits twice.

    Args:
        run: which begins.
        ready: before its first step.
        experiment: what was asked for.
        held: bytes of memory that making it ready took.
    """
    if run.resume:
        return read_description(run.folder).get("forecast") or {}
    drawn = list(islice(_loader(ready), DRAWN))
    places, _ = _places(ready, drawn)
    fits = 2 * memory_of(ready.model.config, places, ready.training).total <= available_memory()
    worth = run.group.size == 1 and fits and is_long(_in_steps(ready, drawn), places)
    with unchanged_random_state():
        facts = _expect(ready, experiment, held, measure=worth, keep=True).as_dict()
    if run.group.is_first:
        run.describe({"forecast": facts})
    return facts


def _expect(ready: Ready, experiment: FineTuning, held: int, *, measure: bool, keep: bool) -> Forecast:
    """The forecast; with `keep` the model stays as it is. What is `held` beside its weights adds to what training needs."""
    drawn, shape = list(islice(_loader(ready), DRAWN)), ready.model.config
    training = _in_steps(ready, drawn)
    places, largest = _places(ready, drawn)
    moving = sum(value.numel() for value in ready.model.parameters() if value.requires_grad)
    memory = memory_of(shape, largest, training, trained=moving / ready.model.num_parameters())
    memory = replace(memory, process=memory.process + max(held - memory.weights, 0))
    timed = None
    if measure:
        require_memory(memory, available_memory())
        model = deepcopy(ready.model) if keep else ready.model
        timed = time_batches(model, ready.task, _loader(ready), training, steps=TIMED, middle=median)
    expected = expect(shape, places, training, timed, memory=memory)
    expected = replace(expected, target_tokens=None, tokens_per_second=None, linear_seconds=ready.linear_seconds)
    if expected.steps is None:
        return expected
    examples = training.batch_size * training.accumulation
    looks = _looks(ready, experiment, expected.steps)
    spent = looks.count * looks.rows * looks.passes / (STEP * examples)
    return replace(
        expected,
        epochs=expected.steps * examples / ready.count,
        examples_per_second=None if timed is None else examples / timed.free,
        evaluations=looks.count,
        evaluation_seconds=None if timed is None else spent * timed.free,
    )


def _loader(ready: Ready) -> ExampleLoader:
    """The batches of a run from its first on, apart from the run's own."""
    training, pad = ready.training, ready.task.frame.pad
    return ExampleLoader(ready.loader.examples, batch_size=training.batch_size, pad=pad, seed=training.seed)


def _in_steps(ready: Ready, drawn: list[Batch]) -> Training:
    """The training with its length in steps, where it is given in target tokens."""
    training = ready.training
    if training.tokens is None:
        return training
    each = fmean(batch.num_targets for batch in drawn) * training.accumulation
    return replace(training, steps=max(math.ceil(training.tokens / each), 1), tokens=None)


def _places(ready: Ready, drawn: list[Batch]) -> tuple[Shape, Shape]:
    """Rows and places of a usual batch, and of the largest."""

    def shape(rows: float, batches: list[Batch]) -> Shape:
        def width(side: str) -> int:
            there = [getattr(batch, side) for batch in batches]
            return math.ceil(sum(tokens.shape[1] for tokens in there if tokens is not None) / len(batches))

        labels = sum(batch.num_targets for batch in batches) / (len(batches) * rows) if ready.task.writes else 0
        return Shape(rows=round(rows), source=width("source"), target=width("target"), labels=math.ceil(labels))

    largest = max(drawn, key=lambda batch: batch.num_tokens)
    return shape(sum(batch.num_rows for batch in drawn) / len(drawn), drawn), shape(largest.num_rows, [largest])


def paced(ready: Ready, experiment: FineTuning, forecast: Mapping[str, Any]) -> Ready:
    """With the looks and the patience that suit the length of the run, where nobody has said them.

    Args:
        ready: before its first step.
        experiment: what was asked for.
        forecast: that the run began with; empty for a run of an earlier version that goes on.
    """
    training = ready.training
    steps = training.steps or forecast.get("steps") or 1000
    if training.minutes is not None and forecast:
        seconds = forecast["step_seconds_now"] or max(forecast["step_flops"] / NOMINAL, QUICKEST)
        steps = max(int(60 * training.minutes / seconds), 1)
    looks, patience = _looks(ready, experiment, steps), experiment.patience
    if patience is None:
        patience = max(math.ceil(looks.count / 3), LEAST_PATIENCE)
    training = replace(training, evaluate_every=looks.every, evaluate_rows=looks.rows)
    return replace(ready, training=training, choice=replace(ready.choice, patience=patience))


@dataclass(frozen=True, slots=True)
class _Looks:
    """How often a run looks at how many dev examples, and how many passes through the model a look is."""

    every: int
    rows: int
    count: int
    passes: int


def _looks(ready: Ready, experiment: FineTuning, steps: int) -> _Looks:
    """The looks of a run of so many steps."""
    training, dev = ready.training, len(ready.splits.dev)
    rows, passes = min(training.evaluate_rows or dev, dev), 1 if ready.choice.name == "loss" else 2
    if training.evaluate_every or not dev:
        every = training.evaluate_every or steps
        return _Looks(every, rows, math.ceil(steps / every), passes)
    worth = SHARE * STEP * steps * training.batch_size * training.accumulation / passes
    rows = max(min(rows, max(int(worth / USUAL), FEWEST)), 1)
    most = USUAL if experiment.patience == 0 else EVALUATIONS
    every = max(math.ceil(steps / max(min(int(worth / rows), most), 1)), 1)
    return _Looks(every, rows, math.ceil(steps / every), passes)
