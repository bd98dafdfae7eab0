"""From an experiment to a trained model in a folder.

runs/mine/
    config.json model.safetensors tokenizer.json ...   the model, as a Hugging Face folder, when training is done
    trifold.json                                        what was asked, and what came out
    metrics.jsonl metrics.csv [tensorboard/]            what was measured on the way
    checkpoints/step-00000500/                          a model folder plus the training state
    data/                                               the token stores
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from trifold.config import Config, from_json, to_json
from trifold.errors import ConfigError, ModelFileError, TrifoldError
from trifold.text import Tokenizer
from trifold.training.experiment import Experiment
from trifold.training.log import MetricLog
from trifold.training.memory import keep_freed_memory
from trifold.training.prepare import Corpora, Prepared, prepare
from trifold.training.save import load_checkpoint, publish_model, save_checkpoint
from trifold.training.trainer import Evaluation, Step, Trainer, evaluate_loss

__all__ = ["Event", "Listener", "Result", "claimed", "measures", "pretrain", "read_experiment", "train", "write_json"]

DESCRIPTION = "trifold.json"
Listener = Callable[["Event"], None]
E = TypeVar("E", bound=Config)


@dataclass(frozen=True, slots=True)
class Event:
    """What a run tells while it goes on: a stage that begins, a step, or a held-out evaluation.

    Attributes:
        stage: `tokenizer`, `data`, `examples`, `head`, `model`, `train`, `evaluate` or `save`.
        step: the step just done; None outside training.
        evaluation: the evaluation just done; None otherwise.
        details: numbers worth showing, by name.
    """

    stage: str
    step: Step | None = None
    evaluation: Evaluation | None = None
    details: Mapping[str, float | int | str] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a run: its folder, its length and the loss on held-out text (None where none was held out)."""

    folder: Path
    steps: int
    tokens: int
    seconds: float
    num_parameters: int
    valid: Evaluation | None


def pretrain(
    experiment: Experiment, out: str | Path, *, resume: bool = False, listen: Listener = lambda _: None
) -> Result:
    """Run an experiment.

    Args:
        experiment: what to do.
        out: the run's folder; must not exist, unless `resume`.
        resume: go on from the newest whole checkpoint in `out`, exactly as if there had been no break.
        listen: is told every stage, step and evaluation.

    Raises:
        ConfigError: the folder exists, or `resume` with an experiment that is not the one that was begun.
        DataError: the text is empty or damaged.
        CapacityError: the model does not fit in memory.
    """
    out = Path(out)
    keep_freed_memory()
    with claimed(out, experiment, resume=resume):
        prepared = prepare(experiment, out, lambda stage, details: listen(Event(stage, details=details)))
        trainer = Trainer(prepared.model, prepared.objective, prepared.train, experiment.training)
    if resume:
        load_checkpoint(out / "checkpoints", trainer)
    with MetricLog(out, resume_after=trainer.step, tensorboard=experiment.training.tensorboard) as log:

        def evaluate(max_rows: int) -> Evaluation | None:
            return _evaluate(trainer, prepared, max_rows)

        train(trainer, prepared.tokenizer, out, log=log, listen=listen, evaluate=evaluate)
        valid = evaluate(0)
        listen(Event("evaluate", evaluation=valid))
        if valid is not None:
            record = {"step": trainer.step, "tokens": trainer.tokens, "seconds": trainer.seconds}
            log.write({**record, **measures(valid)})
    with trainer.weights.exact_model():
        publish_model(prepared.model, prepared.tokenizer, out)
    result = Result(out, trainer.step, trainer.tokens, trainer.seconds, prepared.model.num_parameters(), valid)
    _describe(out, experiment, prepared.corpora, result)
    listen(Event("save", details={"folder": str(out)}))
    return result


@contextmanager
def claimed(out: Path, experiment: Config, *, resume: bool) -> Iterator[None]:
    """Hold a run's folder while the run is prepared; where that is refused, the folder is free again.

    Raises:
        ConfigError: the folder exists, or `resume` with another experiment.
    """
    _claim(out, experiment, resume=resume)
    try:
        yield
    except TrifoldError:
        if not resume:  # it was made just now, and nothing in it was trained
            shutil.rmtree(out, ignore_errors=True)
        raise


def _claim(out: Path, experiment: Config, *, resume: bool) -> None:
    """Make the folder, or make sure that it holds the run to go on with."""
    if resume:
        before = read_experiment(out, type(experiment))
        changed = _differences(to_json(before), to_json(experiment))
        if changed:
            raise ConfigError("training.other_experiment", path=out, changes="; ".join(changed))
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("training.run_exists", path=out)
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / DESCRIPTION, {"experiment": to_json(experiment)})


def _differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Fields that differ; how long to train, how often to report and where may change."""
    free = {"training.steps", "training.tokens", "training.minutes", "training.evaluate_every", "training.log_every",
            "training.checkpoint_every", "training.keep_checkpoints", "training.tensorboard"}  # fmt: skip
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        parts = [_differences(before.get(name), after.get(name), f"{where}.{name}".lstrip(".")) for name in names]
        return [line for part in parts for line in part]
    return [] if before == after or where in free else [f"{where}: {before} -> {after}"]


def read_experiment(folder: str | Path, kind: type[E] = Experiment) -> E:
    """The experiment that a run was begun with.

    Args:
        folder: the run.
        kind: class of the experiment, for runs that are not pre-training.

    Raises:
        ModelFileError: the folder holds no run.
    """
    path = Path(folder) / DESCRIPTION
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["experiment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError("training.no_run", path=folder, problem=str(error)[:200]) from None
    return from_json(kind, data, where=str(path))


def train(
    trainer: Trainer,
    tokenizer: Tokenizer,
    out: Path,
    *,
    log: MetricLog,
    listen: Listener,
    evaluate: Callable[[int], Evaluation | None],
) -> None:
    """Train to the end, or until an evaluation says that it is enough; log, evaluate and save on the way.

    Args:
        trainer: brought to the state to go on from.
        tokenizer: saved with each checkpoint.
        out: the run's folder.
        log: where measurements go.
        listen: is told every step and evaluation.
        evaluate: held-out loss over at most so many rows (0 for all); None where nothing is held out.
    """
    training = trainer.training
    saved = trainer.step
    try:
        for step in trainer.steps():
            listen(Event("train", step=step))
            record: dict[str, float] = {}
            found = None
            if training.evaluate_every and step.step % training.evaluate_every == 0 and step.progress < 1:
                found = evaluate(training.evaluate_rows)
                listen(Event("evaluate", evaluation=found))
                record |= measures(found)
            if record or step.step % training.log_every == 0 or step.progress >= 1:
                log.write({**_logged(step), **record})
            if training.checkpoint_every and step.step % training.checkpoint_every == 0:
                save_checkpoint(out / "checkpoints", trainer, tokenizer)
                saved = step.step
            if found is not None and found.enough:
                break
    finally:  # also when the user stops the run or a step goes wrong: nothing that was learned is lost
        if trainer.step > saved:
            save_checkpoint(out / "checkpoints", trainer, tokenizer)


def _logged(step: Step) -> dict[str, float]:
    names = ("step", "tokens", "seconds", "loss", "learning_rate", "gradient_norm", "tokens_per_second")
    return {name: getattr(step, name) for name in names}


def measures(found: Evaluation | None) -> dict[str, float]:
    """An evaluation as columns of the log."""
    if found is None:
        return {}
    bits = {} if found.bits_per_byte is None else {"valid_bits_per_byte": found.bits_per_byte}
    metric = {} if found.metric is None else {"valid_metric": found.metric}
    return {"valid_loss": found.loss, **bits, **metric}


def _evaluate(trainer: Trainer, prepared: Prepared, max_rows: int) -> Evaluation | None:
    if prepared.valid is None:
        return None
    return evaluate_loss(trainer.model, prepared.objective, prepared.valid.epoch(), max_rows=max_rows)


def _describe(out: Path, experiment: Experiment, corpora: Corpora, result: Result) -> None:
    found = {key: value for key, value in asdict(result).items() if key not in ("folder", "valid")}
    valid = None if result.valid is None else asdict(result.valid)
    facts = {"experiment": to_json(experiment), "data": corpora.facts(), "result": {**found, "valid": valid}}
    write_json(out / DESCRIPTION, facts)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    working = path.with_suffix(".tmp")
    working.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    working.replace(path)
