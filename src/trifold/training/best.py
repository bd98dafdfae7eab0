"""The best weights of a run, by what was measured on held-out data; and whether it is worth going on."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from trifold.checkpoint import checkpoints, discard, name_of, place_of, read_manifest, recover
from trifold.errors import ModelFileError
from trifold.training.held_out import Evaluation
from trifold.training.save import Saver

__all__ = ["Best", "Choice"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What decides between two evaluations, and when it is enough.

    Attributes:
        name: of a metric, or `loss`.
        higher: whether more of it is better.
        patience: after how many evaluations without a better one to stop; 0 for never.
        from_start: whether what a run begins with is evaluated too.

    Example:
        >>> Choice("macro_f1", higher=True).name
        'macro_f1'
    """

    name: str = "loss"
    higher: bool = False
    patience: int = 0
    from_start: bool = False


class Best:
    """Keeps the weights of the best evaluation on disk, so that a run that is resumed knows them too.

    Among evaluations with the same metric the lower loss is better, so that a metric that stays at zero chooses nothing.
    Each better one is a model folder, `best/step-00000200/`, with both numbers in its manifest. Those from before the
    oldest checkpoint are deleted but for the last, so that a run that goes on from any checkpoint finds what it knew there.

    All processes of a run see the same evaluations, and so choose the same.

    Args:
        out: the run's folder.
        saver: of the run; its trainer is at the step to go on from.
        choice: what decides.
    """

    def __init__(self, out: Path, saver: Saver, choice: Choice) -> None:
        self.out, self.root, self.saver, self.choice = out, out / "best", saver, choice
        self.metric, self.path = (-math.inf if choice.higher else math.inf), None
        self.loss = math.inf
        self.since = 0
        trainer = saver.trainer
        trainer.group.in_turn(lambda: self._forget_after(trainer.step) if trainer.group.is_first else None)
        found = self._kept()
        if found:
            self.path, (self.metric, self.loss) = found[-1], _read_numbers(found[-1])
            every = trainer.training.evaluate_every
            self.since = trainer.step // every - _step_of(self.path) // every if every else 0

    def _kept(self) -> list[Path]:
        """What was kept so far, oldest first; earlier versions wrote files."""
        return [*sorted(self.out.glob("best-*.safetensors")), *checkpoints(self.root)]

    def _forget_after(self, step: int) -> None:
        """Delete what a try that came further has kept; it will be measured again."""
        recover(self.root)
        for path in self._kept():
            if _step_of(path) > step:
                _delete(path)

    def consider(self, evaluation: Evaluation) -> Evaluation:
        """Keep the weights if this evaluation is the best so far; the evaluation says whether it is enough."""
        metric = evaluation.loss if evaluation.metric is None else evaluation.metric
        better = metric > self.metric if self.choice.higher else metric < self.metric
        better |= metric == self.metric and evaluation.loss < self.loss
        self.since = 0 if better else self.since + 1
        if better:
            self.metric, self.loss = metric, evaluation.loss
            self._keep()
        enough = bool(self.choice.patience) and self.since >= self.choice.patience
        return replace(evaluation, enough=enough, best=better, metric_name=self.choice.name)

    def _keep(self) -> None:
        step = self.saver.trainer.step
        self.path = self.root / name_of(step)
        self.saver.write_weights(self.path, {"step": step, "metric": repr(self.metric), "loss": repr(self.loss)})
        if not self.saver.trainer.group.is_first:
            return
        kept = checkpoints(self.out / "checkpoints")
        oldest = place_of(kept[0])[0] if kept else step
        for path in [path for path in self._kept() if _step_of(path) <= oldest][:-1]:
            _delete(path)

    @property
    def step(self) -> int:
        """Of the best weights so far; 0 where nothing was evaluated."""
        return 0 if self.path is None else _step_of(self.path)

    def restore(self) -> None:
        """Put the best weights in place; leave all as it is where nothing was evaluated. All processes call it.

        Raises:
            ModelFileError: the file is damaged.
        """
        if self.path is None:
            return
        self.saver.trainer.group.in_turn(lambda: None)  # the first process may still be writing them
        if self.path.is_dir():
            self.saver.read_weights(self.path)
        else:
            self._read_file(self.path)

    def _read_file(self, path: Path) -> None:
        """Weights in the form of earlier versions: under our own names."""
        weights = self.saver.trainer.weights
        try:
            saved = load_file(path)
            with torch.no_grad():
                for name, value in weights.exact.items():
                    value.copy_(weights.part(saved[name]))
        except (SafetensorError, OSError, KeyError, RuntimeError) as error:
            raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
        weights.refresh()


def _step_of(path: Path) -> int:
    return place_of(path)[0] if path.suffix != ".safetensors" else int(path.stem.removeprefix("best-"))


def _delete(path: Path) -> None:
    if path.is_dir():
        discard(path)
    else:
        path.unlink()


def _read_numbers(path: Path) -> tuple[float, float]:
    """The metric and the loss of kept weights; a file from before both were kept has no loss to compare with."""
    if path.is_dir():
        told = read_manifest(path)
    else:
        try:
            with safe_open(path, framework="pt") as file:
                told = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
    try:
        return float(told["metric"]), float(told.get("loss", "inf"))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError("checkpoint.bad_file", path=path, problem=str(error)[:200]) from None
