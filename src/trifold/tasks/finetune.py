"""Fine-tuning: the trainer of pre-training on labelled examples, the best weights kept, and an honest judgement.

runs/mine/
    config.json model.safetensors extra.safetensors tokenizer.json task.json    the model with its head and its task
    trifold.json       what was asked, and the judgement
    metrics.jsonl      what was measured on the way
    checkpoints/ best/  as every run has them (`trifold.training.run`)
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trifold.batch import Batch
from trifold.presets.pretrained import Transformer
from trifold.tasks.examples import read_examples, sample_of
from trifold.tasks.experiment import FineTuning
from trifold.tasks.frame import pack
from trifold.tasks.given import Given, choose_experiment, rows_of
from trifold.tasks.outcome import publish
from trifold.tasks.pace import foresee_tuning, paced
from trifold.tasks.preparation import Ready, prepare
from trifold.tasks.record import Record
from trifold.tasks.task import Task, TaskConfig
from trifold.training import Trainer, Training, evaluate_loss
from trifold.training.description import read_description
from trifold.training.held_out import Evaluation
from trifold.training.loop import Evaluate, Event, Listener
from trifold.training.plan import held_memory
from trifold.training.run import Run, begin, given_path

__all__ = ["FineTuneResult", "finetune", "split_records"]

LITTLE = 0.02
"""A loss that fell by a smaller part of itself in half of a run will hardly fall further."""


@dataclass(frozen=True, slots=True)
class FineTuneResult:
    """What came out of a run.

    Attributes:
        folder: the run.
        steps, seconds: how long it trained.
        best_step: whose weights are kept; None where nothing chose, and they are the last.
        still_falling: by how much the loss on dev examples fell in the second half of the run, where its end was the best;
            0 where more training would not help. Measured: twice the length brought half as much again, to one and a half
            times as much.
        num_parameters: of the model with its head.
        trained_parameters: how many of them moved.
        flops: operations of this process's training, `6 x weights of matrix products x places`; tables are only looked up.
        judgement: metrics with intervals beside baselines, as JSON data.
        account: what became of the columns and rows of the data, as JSON data.
        forecast: what was expected at the run's beginning (`trifold.training.forecast`); None where an earlier version
            began it.
        stopped_early: whether it ended before its length was over, because looks at dev examples gained nothing.
    """

    folder: Path
    steps: int
    best_step: int | None
    still_falling: float
    stopped_early: bool
    seconds: float
    num_parameters: int
    trained_parameters: int
    flops: float
    judgement: dict[str, Any]
    account: dict[str, Any]
    forecast: dict[str, Any] | None


def finetune(  # noqa: PLR0913 - what the library offers, each by its name
    model: FineTuning | str | Path,
    out: str | Path,
    *,
    train: Given | None = None,
    dev: Given | None = None,
    test: Given | None = None,
    task: TaskConfig | str | None = None,
    training: Training | None = None,
    epochs: float | None = None,
    resume: bool = False,
    strict: bool = False,
    allow: Sequence[str] = (),
    listen: Listener = lambda _: None,
) -> FineTuneResult:
    """Fine-tune a model for a task: on files, or on examples that a program has.

    Args:
        model: what to start from: a run, a folder, a hub name, or a family (`bert`, `gpt2` ...) for random weights; or a
            whole experiment. Of translation from random weights the examples say how large the model is, and how long it
            learns, where nothing else does (`trifold.tasks.fit`).
        out: the run's folder; must not exist, unless `resume`.
        train: examples in place of files, kept in the run's folder: rows as mappings, records, or tuples of the texts and
            the answer.
        dev: examples to choose the weights by; a part of `train` without.
        test: examples to judge the model on; `dev` without.
        task: by its name (`classification`, `translation` ...) or its configuration; classification where nothing is said.
        training: how, in place of the experiment's own part; its steps are the length unless `epochs` is given.
        epochs: how often each example is seen.
        resume: go on from the newest whole checkpoint in `out`; examples that were given may be left out.
        strict: refuse a damaged newest checkpoint instead of falling back to the one before.
        allow: what may have changed since the run began, by name.
        listen: is told every stage, step and evaluation.

    Raises:
        ConfigError: there is nothing to train on, the folder exists, or the task does not suit the model.
        DataError: examples are missing or damaged.
    """
    if isinstance(train, Iterator) and not isinstance(model, FineTuning):
        train = list(train)  # read twice
    splits = {"train": train, "dev": dev, "test": test}
    kept = {name: () for name in splits if resume and given_path(out, name).is_file()}
    lengths = {} if training is None else {"training": training, "epochs": None}
    changes = lengths | ({} if epochs is None else {"epochs": epochs})
    experiment = choose_experiment(model, out, kept | _there(splits), task=task, changes=changes)
    with begin(experiment, out, experiment.training, resume=resume, strict=strict, allow=allow, listen=listen) as run:
        for name, examples in _there(splits).items():
            run.keep(name, rows_of(examples, experiment.task.kind))
        before = held_memory()
        ready = run.group.in_turn(lambda: prepare(experiment, run))
        ready = paced(ready, experiment, foresee_tuning(run, ready, experiment, held_memory() - before))
        trainer = Trainer(ready.model, ready.task, ready.loader, ready.training, group=run.group)
        work = Work(run.listen)
        run.listen = work
        best = run.train(
            trainer,
            ready.tokenizer,
            data=ready.hashes,
            evaluate=_evaluation(trainer, ready),
            choice=ready.choice if ready.training.keep_best else None,
        )
        return _finish(run, trainer, ready, work, best if ready.training.keep_best and work.losses else None)


def _there(given: dict[str, Given | None]) -> dict[str, Given]:
    return {name: examples for name, examples in given.items() if examples is not None}


def _evaluation(trainer: Trainer, ready: Ready) -> Evaluate:
    """Loss on records of the dev set, and the metric that chooses."""
    training, choice = ready.training, ready.choice
    chosen = sample_of(ready.splits.dev, training.evaluate_rows)
    batches = _batches(ready.task, chosen, training.batch_size)

    def measure(model: nn.Module) -> float:
        assert isinstance(model, Transformer)
        return ready.task.measure(chosen, ready.task.predict(model, chosen))[choice.name].score

    def evaluate(_: int) -> Evaluation | None:
        if not chosen:
            return None
        with trainer.weights.computing():
            evaluation = evaluate_loss(trainer.model, ready.task, batches, group=trainer.group)
            if choice.name == "loss":
                return replace(evaluation, metric=evaluation.loss)
            model = trainer.weights.whole_model()
            return replace(evaluation, metric=trainer.group.decide(lambda: measure(model)))

    return evaluate


def _batches(task: Task, records: Sequence[Record], size: int) -> list[Batch]:
    """So many whole examples a batch, as in training: the loss of an embedding asks for partners in the same batch."""
    examples = task.examples(records)
    parts = [examples[start : start + size] for start in range(0, len(examples), size)]
    return [pack([one for example in part for one in example], task.frame.pad)[0] for part in parts]


def _finish(run: Run, trainer: Trainer, ready: Ready, work: "Work", best: int | None) -> FineTuneResult:
    """Save the model, judge it on what it has not seen, and write down both: the first process does, for all."""
    flops = 6.0 * _multiplied(trainer.model, ready.task) * work.places
    model = trainer.weights.whole_model().eval()
    facts = {
        "steps": trainer.step,
        "best_step": best,
        "still_falling": work.still_falling(best),
        "stopped_early": run.stopped_early,
        "seconds": trainer.seconds,
        "flops": flops,
    }
    run.group.in_turn(lambda: publish(run, ready, model, facts) if run.group.is_first else None)
    told = read_description(run.folder)
    rest = {"judgement": told["judgement"], "account": told["account"], "forecast": told.get("forecast")}
    return FineTuneResult(run.folder, **told["result"], **rest)


def _multiplied(model: nn.Module, task: Task) -> int:
    """How many weights a place is multiplied with: the blocks, the head, and the vocabulary where the task writes.

    A block that several layers share counts for each of them.
    """
    parts = model.named_modules(remove_duplicate=False)
    products = ((name, part) for name, part in parts if isinstance(part, torch.nn.Linear))
    return sum(part.weight.numel() for name, part in products if task.writes or not name.startswith("head."))


class Work:
    """Passes events on, adds up the places that steps went through, and remembers what evaluations said.

    Args:
        listen: whom to pass events on to.
    """

    def __init__(self, listen: Listener) -> None:
        self.listen, self.places, self._seconds = listen, 0.0, 0.0
        self.losses: dict[int, float] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if event.step is not None:
            self.places += event.step.tokens_per_second * (event.step.seconds - self._seconds)
            self._seconds = event.step.seconds
        if event.evaluation is not None:
            self.losses[event.evaluation.step] = event.evaluation.loss
        self.listen(event)

    def still_falling(self, best: int | None) -> float:
        """By how much the loss fell in the second half of the run, if its last evaluation is the best; else 0."""
        if best is None or best < max(self.losses, default=math.inf):
            return 0.0
        middle = min(self.losses, key=lambda step: abs(step - best / 2))
        fallen = self.losses[middle] - self.losses[best]
        return fallen if middle and fallen > LITTLE * self.losses[best] else 0.0


def split_records(experiment: FineTuning, task: Task) -> list[Record]:
    """The records that a run of this experiment is judged on."""
    return read_examples(experiment).records(task).judged
