"""`trifold pretrain`: a model from raw text."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trifold.cli.console import Console, Progress, duration, unknown_note
from trifold.cli.experiment import EXPERIMENT_OPTIONS, RESUME_OPTIONS, SECTIONS, build_experiment
from trifold.cli.option import Command, Option, Request
from trifold.errors import UsageError
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.training import Event, Experiment, Result, Step

__all__ = ["COMMAND", "run_experiment", "show_step"]


def run(request: Request) -> dict[str, Any]:
    """Train as asked, or go on with a run."""
    values, out = request.values, Path(request.values.out)
    resume = values.resume or _was_restarted(out)
    experiment = _experiment(request, out, resume=resume)
    if values.processes > 1 and "RANK" not in os.environ:
        _run_together(experiment, request)
    if values.processes not in (1, int(os.environ.get("WORLD_SIZE", "1"))):
        raise UsageError("cli.other_processes", given=values.processes, there=os.environ.get("WORLD_SIZE", "1"))
    result = run_experiment(experiment, out, request.console, resume=resume, strict=values.strict,
                            allow=values.allow_change or ())  # fmt: skip
    return describe(result)


def _experiment(request: Request, out: Path, *, resume: bool) -> "Experiment":
    """What is asked for, or what the run that goes on was begun with."""
    from trifold.training import read_experiment

    goes_on = resume and not request.values.data and request.values.experiment is None
    given = build_experiment(request, read_experiment(out) if goes_on else None)
    training = replace(given.training, deterministic=True) if request.values.deterministic else given.training
    return replace(given, training=training)


def _was_restarted(out: Path) -> bool:
    """Whether torchrun started this process again, after a first time that had begun the run."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0 and (out / "trifold.json").exists()


def _run_together(experiment: "Experiment", request: Request) -> NoReturn:
    """Start the processes that train, and end as they do."""
    from trifold.cli.launch import launch
    from trifold.training.distributed import require_split

    require_split(experiment.training, request.values.processes)
    raise SystemExit(
        launch(["pretrain", *request.words], request.values.processes)
    )  # they have said all there is to say


def describe(result: "Result") -> dict[str, Any]:
    """A result as data."""
    from dataclasses import asdict

    return {**asdict(result), "folder": str(result.folder)}


def run_experiment(
    experiment: "Experiment",
    out: Path,
    console: Console,
    *,
    resume: bool = False,
    strict: bool = False,
    allow: Sequence[str] = (),
    title: str = "",
) -> "Result":
    """Train with a progress line; the result is also said in words."""
    from trifold.training import pretrain

    with Progress(console, title or out.name, every=5.0) as progress:
        result = pretrain(experiment, out, resume=resume, strict=strict, allow=allow,
                          listen=lambda event: _show(event, progress))  # fmt: skip
    valid = result.valid
    bits = "-" if valid is None or valid.bits_per_byte is None else f"{valid.bits_per_byte:.3f}"
    loss = "-" if valid is None else f"{valid.loss:.4f}"
    facts = {"steps": result.steps, "time": duration(result.seconds), "loss": loss, "bits": bits, "path": out}
    console.say(message("cli.trained", **facts))
    return result


def show_step(step: "Step", progress: Progress) -> None:
    """One step on the progress line."""
    facts = {"step": step.step, "loss": f"{step.loss:.3f}", "speed": f"{step.tokens_per_second:,.0f}"}
    progress.update(step.progress, message("cli.progress", **facts, left=duration(step.remaining)))


def _show(event: "Event", progress: Progress) -> None:
    if event.step is not None:
        show_step(event.step, progress)
    elif event.evaluation is not None:
        found = event.evaluation
        bits = "-" if found.bits_per_byte is None else f"{found.bits_per_byte:.3f}"
        progress.note(message("cli.evaluated", loss=f"{found.loss:.4f}", bits=bits))
    elif event.stage == "account" and event.details is not None:
        progress.note(str(event.details["line"]))
    elif event.stage == "unknown_tokens" and event.details is not None:
        note = unknown_note(float(event.details["share"]))
        if note is not None:
            progress.note(f"{message('cli.warning')} {note}")
    elif event.details is not None and f"stage_{event.stage}" in _stages():
        shown = {key: f"{value:,}" if isinstance(value, int) else value for key, value in event.details.items()}
        progress.note(message(f"cli.stage_{event.stage}", **shown))


def _stages() -> tuple[str, ...]:
    return ("stage_tokenizer", "stage_data", "stage_model")


COMMAND = Command(
    name="pretrain",
    options=(
        *EXPERIMENT_OPTIONS,
        Option(name="out", kind="folder", required=True),
        *RESUME_OPTIONS,
        Option(name="processes", kind="integer", low=1, default=1, group="training"),
        Option(name="deterministic", kind="flag", default=False, group="training"),
    ),
    run=run,
    sections=SECTIONS,
)
