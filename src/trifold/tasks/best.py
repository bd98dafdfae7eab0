"""The best weights of a run, by what was measured on the dev set; and whether it is worth going on."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from trifold.checkpoint import checkpoints, place_of
from trifold.errors import ConfigError, ModelFileError
from trifold.tasks.task import Task
from trifold.training.held_out import Evaluation
from trifold.training.trainer import Trainer

__all__ = ["Best", "Choice", "choose_metric", "lower_is_better"]

LOWER = frozenset({"loss", "bits_per_byte", "mean_absolute_error", "ter"})


@dataclass(frozen=True, slots=True)
class Choice:
    """What decides between two evaluations.

    Attributes:
        name: of a metric of the task, or `loss`.
        higher: whether more of it is better.

    Example:
        >>> Choice("macro_f1", higher=True).name
        'macro_f1'
    """

    name: str
    higher: bool


def lower_is_better(name: str) -> bool:
    """Whether less of a metric is better.

    Example:
        >>> lower_is_better("loss"), lower_is_better("accuracy")
        (True, False)
    """
    return name in LOWER


def choose_metric(task: Task, wanted: str | None) -> Choice:
    """The metric that chooses the weights: the named one, else what the task is chosen by.

    Raises:
        ConfigError: the task has no such metric.
    """
    allowed = [*task.metrics, "loss"]
    name = wanted or task.default_metric
    if name not in allowed:
        raise ConfigError("config.out_of_range", where="metric", given=name, allowed=", ".join(allowed))
    return Choice(name, higher=not lower_is_better(name))


class Best:
    """Keeps the weights of the best evaluation on disk, so that a run that is resumed knows them too.

    Among evaluations with the same metric the lower loss is better, so that a metric that stays at zero chooses nothing.
    Each better one has a file of its own, `best-00000200.safetensors`, with both inside. Those from before the oldest
    checkpoint are deleted but for the last, so that a run that goes on from any checkpoint finds what it knew there.

    Args:
        out: the run's folder.
        trainer: whose weights are kept; at the step to go on from.
        choice: what decides.
        patience: after how many evaluations without a better one it is enough; 0 for never.
    """

    def __init__(self, out: Path, trainer: Trainer, *, choice: Choice, patience: int) -> None:
        self.out, self.trainer, self.choice, self.patience = out, trainer, choice, patience
        self.metric, self.path = (-math.inf if choice.higher else math.inf), None
        self.loss = math.inf
        self.since = 0
        for path in self._files():
            if _step_of(path) > trainer.step:
                path.unlink()  # of a try that came further; it will be measured again
            else:
                (self.metric, self.loss), self.path = _read_numbers(path), path
        every = trainer.training.evaluate_every
        if self.path is not None and every:
            self.since = trainer.step // every - _step_of(self.path) // every

    def _files(self) -> list[Path]:
        return sorted(self.out.glob("best-*.safetensors"))

    def consider(self, found: Evaluation) -> Evaluation:
        """Keep the weights if this evaluation is the best so far; the evaluation says whether it is enough."""
        metric = found.loss if found.metric is None else found.metric
        better = metric > self.metric if self.choice.higher else metric < self.metric
        better |= metric == self.metric and found.loss < self.loss
        self.since = 0 if better else self.since + 1
        if better:
            self.metric, self.loss = metric, found.loss
            self._keep()
        return replace(found, enough=bool(self.patience) and self.since >= self.patience)

    def _keep(self) -> None:
        self.path = self.out / f"best-{self.trainer.step:08d}.safetensors"
        working = self.path.with_suffix(".tmp")
        exact = {name: value.detach().cpu().contiguous() for name, value in self.trainer.weights.exact.items()}
        save_file(exact, working, metadata={"metric": repr(self.metric), "loss": repr(self.loss)})
        with working.open("rb") as file:
            os.fsync(file.fileno())
        working.replace(self.path)
        kept = checkpoints(self.out / "checkpoints")
        oldest = place_of(kept[0])[0] if kept else 0
        needless = [path for path in self._files() if _step_of(path) <= oldest][:-1]
        for path in needless if kept else self._files()[:-1]:
            path.unlink()

    def restore(self) -> None:
        """Put the best weights in place; leave all as it is where nothing was evaluated.

        Raises:
            ModelFileError: the file is damaged.
        """
        if self.path is None:
            return
        try:
            saved = load_file(self.path)
            with torch.no_grad():
                for name, value in self.trainer.weights.exact.items():
                    value.copy_(saved[name])
        except (SafetensorError, OSError, KeyError, RuntimeError) as error:
            raise ModelFileError("checkpoint.bad_file", path=self.path, problem=str(error)[:200]) from None
        self.trainer.weights.refresh()


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("best-"))


def _read_numbers(path: Path) -> tuple[float, float]:
    """The metric and the loss of kept weights; a file from before both were kept has no loss to compare with."""
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
            return float(told["metric"]), float(told.get("loss", "inf"))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
