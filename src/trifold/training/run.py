"""A run and its folder: whoever trains, on whatever, does it in one of these.

runs/mine/
    config.json model.safetensors tokenizer.json ...   the model, as a Hugging Face folder, when training is done
    trifold.json                                        what was asked, and what came out
    metrics.jsonl metrics.csv [tensorboard/]            what was measured on the way
    checkpoints/step-00000500/                          a model folder plus the training state
    best/step-00000400/                                 a model folder: the best weights, where a run chooses by them
    tokenizer/                                          the tokenizer, where the run trained one
    data/                                               token stores
    given/                                              texts or rows that a program gave in place of files
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trifold.checkpoint import locked
from trifold.config import Config, require, to_json
from trifold.errors import ConfigError, DataError
from trifold.plain_file import sha256
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer
from trifold.training.best import Best, Choice
from trifold.training.config import Training
from trifold.training.description import describe, go_on_with
from trifold.training.distributed import joined
from trifold.training.group import Alone
from trifold.training.held_out import Evaluation
from trifold.training.log import MetricLog, NoLog
from trifold.training.loop import Evaluate, Event, Listener, measures, train
from trifold.training.memory import unchanged_process
from trifold.training.save import Saver, load_checkpoint, publish_model, versions
from trifold.training.step import whole
from trifold.training.trainer import Trainer

__all__ = ["Run", "begin", "given_path"]

LEFTOVERS = {".lock", ".lock.json", "trifold.tmp"}
"""What a process leaves that died before it had begun."""


class Run:
    """The owner of a run's folder, in each of the processes that train it.

    Args:
        folder: where all of it stands.
        experiment: what to do.
        group: the processes that do it.
        resume: whether the run goes on from its newest whole checkpoint.
        strict: refuse a damaged newest checkpoint instead of falling back to the one before.
        allow: what may have changed since the run began, by name.
        listen: is told every stage, step and evaluation; in the first process only.

    Attributes:
        trains: whether it has begun to train; until then a failure leaves no folder behind.
        stopped_early: whether training ended before its length was over, because nothing was gained.
    """

    def __init__(
        self,
        folder: Path,
        experiment: Config,
        group: Alone,
        *,
        resume: bool,
        strict: bool,
        allow: Sequence[str],
        listen: Listener,
    ) -> None:
        self.folder, self.experiment, self.group = folder, experiment, group
        self.resume, self.strict, self.allow, self.trains = resume, strict, tuple(allow), False
        self.stopped_early = False
        self.listen: Listener = listen if group.is_first else lambda _: None

    def tell(self, stage: str, details: Mapping[str, float | int | str]) -> None:
        """Say that a stage begins, with numbers worth showing."""
        self.listen(Event(stage, details=details))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder; where the run fails before it trains, the folder is free again.

        Of several processes the first one holds it for all.

        Raises:
            ConfigError: the folder exists, or `resume` with another experiment.
            UsageError: another process holds it.
        """
        if not self.group.is_first:
            yield
            return
        was_there = self.folder.exists()
        self._claim()
        with locked(self.folder):
            try:
                yield
            except Exception:
                if not self.resume and not self.trains:  # all in it was written just now, and nothing was trained
                    _clear(self.folder, itself=not was_there)
                raise

    def _claim(self) -> None:
        """Make the folder, or make sure that it holds the run to go on with."""
        out = self.folder
        if self.resume:
            go_on_with(out, self.experiment, self.allow)
        elif out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - LEFTOVERS):
            raise ConfigError("training.run_exists", path=out)
        else:
            _make(out)
            self.describe({"experiment": to_json(self.experiment)})

    def train(
        self,
        trainer: Trainer,
        tokenizer: Tokenizer,
        *,
        data: Mapping[str, object],
        evaluate: Evaluate,
        choice: Choice | None = None,
    ) -> int:
        """Train to the end: log, evaluate, save, stop when asked to, and go on where an earlier process stopped.

        Args:
            trainer: at the run's beginning.
            tokenizer: saved with every checkpoint.
            data: hashes of what is trained on; the same in all processes, and when the run goes on.
            evaluate: the loss on held-out data over at most so many rows (0 for all); None where nothing is held out.
            choice: what chooses the weights that the trainer ends with, by the same rows at each evaluation; None for the
                last ones.

        Returns:
            The step whose weights the trainer ends with.

        Raises:
            ModelFileError, ConfigError: there is no checkpoint to go on from, or of another run.
            StorageError: the disk has no room for the checkpoints.
            PreemptedError: a signal stopped the run, which is saved.
            NonFiniteError: a step went wrong and is not to be left out.
        """
        self.group.agree({"data": dict(data)})
        saver = self.group.in_turn(lambda: self._open_saver(trainer, tokenizer, data))
        self.group.spread(trainer.weights.exact)
        trainer.weights.refresh()
        best = None if choice is None else Best(self.folder, saver, choice)
        self.trains = True

        def considered(max_rows: int) -> Evaluation | None:
            evaluation = evaluate(max_rows)
            if evaluation is None:
                return None
            evaluation = replace(evaluation, step=trainer.step)
            return evaluation if best is None else best.consider(evaluation)

        with self._open_log(trainer) as log:
            if choice is not None and choice.from_start and trainer.step == 0:
                self._note(considered(trainer.training.evaluate_rows), trainer, log)
            self.stopped_early = train(trainer, saver, log=log, listen=self.listen, evaluate=considered)
            if not self.stopped_early:  # else that was the last evaluation
                self._note(considered(trainer.training.evaluate_rows), trainer, log)
        if best is not None:
            best.restore()
        return trainer.step if best is None or best.path is None else best.step

    def _note(self, evaluation: Evaluation | None, trainer: Trainer, log: MetricLog) -> None:
        """Tell an evaluation before or after all steps, and write it down."""
        self.listen(Event("evaluate", evaluation=evaluation))
        if evaluation is not None:
            place = {"step": trainer.step, "tokens": whole(trainer.tokens), "seconds": trainer.seconds}
            log.write({**place, **measures(evaluation)})

    def _open_saver(self, trainer: Trainer, tokenizer: Tokenizer, data: Mapping[str, object]) -> Saver:
        """The saver of the run, whose trainer is brought to the newest checkpoint where the run goes on."""
        root, before = self.folder / "checkpoints", None
        if self.resume:
            before = load_checkpoint(root, trainer, strict=self.strict, data=data, allowed=self.allow)
        return Saver(root, trainer, tokenizer, data=data, before=before, allowed=self.allow)

    def _open_log(self, trainer: Trainer) -> MetricLog:
        if not self.group.is_first:
            return NoLog()
        return MetricLog(self.folder, resume_after=trainer.step, tensorboard=trainer.training.tensorboard)

    def keep(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows that a program gives into a file of the run, `given/NAME.jsonl`, so that it can go on and be repeated.

        Raises:
            DataError: a row cannot be written as JSON.
            ConfigError: the run goes on, and they are other rows than it was begun with.
        """
        self.group.in_turn(lambda: _keep(given_path(self.folder, name), rows) if self.group.is_first else None)

    def publish(
        self, model: Transformer, tokenizer: Tokenizer, *, also: Callable[[Path], None] = lambda _: None
    ) -> None:
        """Put the finished model at the top of the folder; `also` writes further files beside it."""
        publish_model(model, tokenizer, self.folder, also=also)

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Put facts into the run's description, in place of those of the same names."""
        describe(self.folder, facts)


def _clear(folder: Path, *, itself: bool) -> None:
    """Delete what is in a folder, which may be a link to one; the folder `itself` only where nobody had made it before."""
    with suppress(OSError):  # what went wrong before is what is told
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        if itself:
            folder.rmdir()


def _path(out: str | Path) -> Path:
    require(isinstance(out, str | os.PathLike), where="out", given=type(out).__name__, allowed="a path (str or Path)")
    return Path(out)


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigError("training.no_folder", path=out, problem=error) from None


def given_path(out: str | Path, name: str) -> Path:
    """Where a run keeps the rows that a program gave it under that name.

    Example:
        >>> given_path("runs/mine", "train").as_posix()
        'runs/mine/given/train.jsonl'

    Raises:
        ConfigError: `out` is no path.
    """
    return _path(out) / "given" / f"{name}.jsonl"


def _keep(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    working = path.with_suffix(".tmp")
    path.parent.mkdir(exist_ok=True)
    try:
        with working.open("w", encoding="utf-8") as file:
            for number, row in enumerate(rows, 1):
                file.write(_as_line(row, number, path.stem))
        if path.exists() and sha256(path) != sha256(working):
            raise ConfigError("training.given_differ", path=path)
        working.replace(path)
    finally:
        working.unlink(missing_ok=True)


def _as_line(row: Mapping[str, Any], number: int, name: str) -> str:
    try:
        line = json.dumps(dict(row), ensure_ascii=False, allow_nan=False, default=_as_number) + "\n"
        line.encode()  # a half of a surrogate pair is no text
    except (TypeError, ValueError) as error:
        raise DataError("training.given_row", number=number, name=name, problem=str(error)[:200]) from None
    return line


def _as_number(value: object) -> object:
    """A number or text of numpy's as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON")


@contextmanager
def begin(
    experiment: Config,
    out: str | Path,
    training: Training,
    *,
    resume: bool = False,
    strict: bool = False,
    allow: Sequence[str] = (),
    listen: Listener = lambda _: None,
) -> Iterator[Run]:
    """Begin a run, or go on with it, together with the processes that the environment speaks of.

    Args:
        experiment: what to do.
        out: the run's folder; must not exist, unless `resume`.
        training: the part of the experiment that says how to train.
        resume: go on from the newest whole checkpoint in `out`, exactly as if there had been no break.
        strict: refuse a damaged newest checkpoint instead of falling back to the one before.
        allow: what may have changed since the run began, by name (`training.optimizer.lr`, `threads`); written down.
        listen: is told every stage, step and evaluation.

    Raises:
        ConfigError: the folder exists, or `resume` with an experiment that is not the one that was begun.
        UsageError: another process trains in the folder.
        DistributedError: one of several processes failed, fell silent or was started with other settings.
    """
    require(not isinstance(allow, str), where="allow", given=repr(allow), allowed="a list of names")
    out = _path(out)
    with unchanged_process(), joined(training, out) as group:
        group.agree({"experiment": to_json(experiment), "versions": versions(), "resume": resume})
        run = Run(out, experiment, group, resume=resume, strict=strict, allow=allow, listen=listen)
        with run.held():
            yield run
            group.in_turn(lambda: None)  # all end together, when all is written
    run.tell("save", {"folder": str(out)})
