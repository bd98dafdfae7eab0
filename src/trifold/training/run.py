"""From an experiment to a trained model in a folder.

runs/mine/
    config.json model.safetensors tokenizer.json ...   the model, as a Hugging Face folder, when training is done
    trifold.json                                        what was asked, and what came out
    metrics.jsonl metrics.csv [tensorboard/]            what was measured on the way
    checkpoints/step-00000500/                          a model folder plus the training state
    data/                                               the token stores
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from trifold.checkpoint import locked
from trifold.config import Config, from_json, to_json
from trifold.errors import ConfigError, ModelFileError, TrifoldError
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer
from trifold.training.distributed import joined
from trifold.training.experiment import Experiment
from trifold.training.group import Alone
from trifold.training.held_out import Evaluation, evaluate_loss
from trifold.training.log import MetricLog, NoLog
from trifold.training.loop import Event, Listener, measures, train
from trifold.training.memory import keep_freed_memory, return_freed_memory
from trifold.training.prepare import Corpora, Prepared, prepare
from trifold.training.save import Saver, load_checkpoint, publish_model, versions
from trifold.training.step import whole
from trifold.training.trainer import Trainer

__all__ = ["Claim", "Result", "claimed", "open_saver", "pretrain", "read_experiment", "write_facts", "write_json"]

DESCRIPTION = "trifold.json"
FREE = frozenset(f"training.{name}" for name in (
    "steps", "tokens", "minutes", "evaluate_every", "log_every", "tensorboard", "checkpoint_every", "checkpoint_passes",
    "keep_checkpoints", "keep_every", "keep_best", "save_in_background", "on_full_disk", "on_bad_step", "spike", "timeout",
))  # fmt: skip
"""Fields of the experiment that may change when a run goes on."""
LEFTOVERS = {".lock", "trifold.tmp"}
"""What a process leaves that died before it had begun."""
E = TypeVar("E", bound=Config)


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a run: its folder, its length and the loss on held-out text (None where none was held out).

    `unknown_tokens` is the part of the text's tokens that the tokenizer does not know, `account` says what was read
    to make the stores and what was left out.
    """

    folder: Path
    steps: int
    tokens: int
    seconds: float
    num_parameters: int
    valid: Evaluation | None
    unknown_tokens: float
    account: dict[str, Any]


def pretrain(
    experiment: Experiment,
    out: str | Path,
    *,
    resume: bool = False,
    strict: bool = False,
    allow: Sequence[str] = (),
    listen: Listener = lambda _: None,
) -> Result:
    """Run an experiment.

    Args:
        experiment: what to do.
        out: the run's folder; must not exist, unless `resume`.
        resume: go on from the newest whole checkpoint in `out`, exactly as if there had been no break.
        strict: refuse a damaged newest checkpoint instead of falling back to the one before.
        allow: what may have changed since the run began, by name (`training.optimizer.lr`, `threads`); written down.
        listen: is told every stage, step and evaluation.

    Raises:
        ConfigError: the folder exists, or `resume` with an experiment that is not the one that was begun.
        UsageError: another process trains in the folder.
        DataError: the text is empty or damaged.
        CapacityError: the model does not fit in memory.
        PreemptedError: a signal stopped the run, which is saved.
        DistributedError: one of several processes failed, fell silent or was started with other settings.
    """
    out = Path(out)
    with joined(experiment.training, out) as group:
        (return_freed_memory if group.in_step else keep_freed_memory)()
        group.agree({"experiment": to_json(experiment), "versions": versions(), "resume": resume})
        listen = listen if group.is_first else lambda _: None
        with claimed(out, experiment, resume=resume, allow=allow, group=group) as claim:
            result = _run(experiment, out, group, claim=claim, strict=strict, listen=listen)
    listen(Event("save", details={"folder": str(out)}))
    return result


def _run(experiment: Experiment, out: Path, group: Alone, *, claim: "Claim", strict: bool, listen: Listener) -> Result:
    """Prepare, train and publish in a folder that is held."""
    prepared = group.in_turn(
        lambda: prepare(experiment, out, lambda stage, details: listen(Event(stage, details=details)))
    )
    hashes = prepared.corpora.hashes()
    group.agree({"data": hashes})
    trainer = Trainer(prepared.model, prepared.objective, prepared.train, experiment.training, group=group)
    saver = group.in_turn(lambda: open_saver(out, trainer, prepared.tokenizer, data=hashes, claim=claim, strict=strict))
    group.spread(trainer.weights.exact)
    trainer.weights.refresh()
    claim.trains = True
    valid = _train(trainer, prepared, out, saver=saver, listen=listen)
    count, unknown = prepared.model.num_parameters(), prepared.corpora.unknown_share
    account = prepared.corpora.report.to_json()
    result = Result(out, trainer.step, int(trainer.tokens), trainer.seconds, count, valid, unknown, account)
    with trainer.weights.exact_model() as model:
        if group.is_first:
            assert isinstance(model, Transformer)
            publish_model(model, prepared.tokenizer, out)
            _describe(out, experiment, prepared.corpora, result)
    group.in_turn(lambda: None)  # all end together, when all is written
    return result


def _train(trainer: Trainer, prepared: Prepared, out: Path, *, saver: Saver, listen: Listener) -> Evaluation | None:
    """Train, then judge on all that is held out."""

    def evaluate(max_rows: int) -> Evaluation | None:
        if prepared.valid is None:
            return None
        with trainer.weights.computing():
            return evaluate_loss(trainer.model, prepared.objective, prepared.valid.epoch(), max_rows=max_rows,
                                 group=trainer.group)  # fmt: skip

    with _open_log(trainer, out) as log:
        train(trainer, saver, log=log, listen=listen, evaluate=evaluate)
        valid = evaluate(0)
        listen(Event("evaluate", evaluation=valid))
        if valid is not None:
            record = {"step": trainer.step, "tokens": whole(trainer.tokens), "seconds": trainer.seconds}
            log.write({**record, **measures(valid)})
    return valid


def _open_log(trainer: Trainer, out: Path) -> MetricLog:
    if not trainer.group.is_first:
        return NoLog()
    return MetricLog(out, resume_after=trainer.step, tensorboard=trainer.training.tensorboard)


@dataclass(slots=True)
class Claim:
    """A run's folder that is held.

    Attributes:
        resume: whether the run goes on.
        allow: what may have changed since it began.
        trains: whether it has begun to train; until then a failure leaves no folder behind.
    """

    resume: bool
    allow: tuple[str, ...]
    trains: bool = False


@contextmanager
def claimed(
    out: Path, experiment: Config, *, resume: bool, allow: Sequence[str] = (), group: Alone | None = None
) -> Iterator[Claim]:
    """Hold a run's folder; where the run is refused before it trains, the folder is free again.

    Of several processes that train together, `group`, the first one holds it for all.

    Raises:
        ConfigError: the folder exists, or `resume` with another experiment.
        UsageError: another process holds it.
    """
    claim = Claim(resume, tuple(allow))
    if group is not None and not group.is_first:
        yield claim
        return
    _claim(out, experiment, claim)
    with locked(out):
        try:
            yield claim
        except TrifoldError:
            if not resume and not claim.trains:  # it was made just now, and nothing in it was trained
                shutil.rmtree(out, ignore_errors=True)
            raise


def open_saver(
    out: Path, trainer: Trainer, tokenizer: Tokenizer, *, data: Mapping[str, object], claim: Claim, strict: bool
) -> Saver:
    """The saver of a run, whose trainer is brought to the newest checkpoint where the run goes on.

    Raises:
        ModelFileError, ConfigError: as `load_checkpoint`.
        StorageError: the disk has no room for the checkpoints.
    """
    root, before = out / "checkpoints", None
    if claim.resume:
        before = load_checkpoint(root, trainer, strict=strict, data=data, allowed=claim.allow)
    return Saver(root, trainer, tokenizer, data=data, before=before, allowed=claim.allow)


def _claim(out: Path, experiment: Config, claim: Claim) -> None:
    """Make the folder, or make sure that it holds the run to go on with."""
    if claim.resume:
        before = read_experiment(out, type(experiment))
        changed = _differences(to_json(before), to_json(experiment))
        refused = {name: change for name, change in changed.items() if not _is_allowed(name, claim.allow)}
        if refused:
            changes = "; ".join(f"{name}: {change}" for name, change in refused.items())
            raise ConfigError("training.other_experiment", path=out, changes=changes, options=" ".join(refused))
        if changed:
            _write_changes(out, experiment, changed)
    elif out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - LEFTOVERS):
        raise ConfigError("training.run_exists", path=out)
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / DESCRIPTION, {"experiment": to_json(experiment)})


def _is_allowed(name: str, allow: Sequence[str]) -> bool:
    """Whether a field, or the section that it stands in, is among the allowed."""
    return any(name == one or name.startswith(f"{one}.") for one in allow)


def _write_changes(out: Path, experiment: Config, changed: Mapping[str, str]) -> None:
    before = json.loads((out / DESCRIPTION).read_text(encoding="utf-8")).get("changes", [])
    write_facts(out, {"experiment": to_json(experiment), "changes": [*before, dict(changed)]})


def _differences(before: Any, after: Any, where: str = "") -> dict[str, str]:
    """Fields that differ; how long to train, how often to report and what to save may change."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        parts = [_differences(before.get(name), after.get(name), f"{where}.{name}".lstrip(".")) for name in names]
        return {name: change for part in parts for name, change in part.items()}
    return {} if before == after or where in FREE else {where: f"{before} -> {after}"}


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


def _describe(out: Path, experiment: Experiment, corpora: Corpora, result: Result) -> None:
    found = {key: value for key, value in asdict(result).items() if key not in ("folder", "valid")}
    valid = None if result.valid is None else asdict(result.valid)
    facts = {"experiment": to_json(experiment), "data": corpora.facts(), "result": {**found, "valid": valid}}
    write_facts(out, facts)


def write_facts(out: Path, facts: Mapping[str, Any]) -> None:
    """Put facts into the description of a run, in place of those of the same names."""
    path = out / DESCRIPTION
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **facts})


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    working = path.with_suffix(".tmp")
    with working.open("w", encoding="utf-8") as file:
        file.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    working.replace(path)
