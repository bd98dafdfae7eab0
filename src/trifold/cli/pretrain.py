"""`trifold pretrain`: a model from raw text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli.console import Console, Progress, duration, few_note, unknown_note
from trifold.cli.experiment import EXPERIMENT_OPTIONS, RESUME_OPTIONS, SECTIONS, build_experiment, missing_of_experiment
from trifold.cli.help import pad
from trifold.cli.needs import missing_out, with_out
from trifold.cli.option import Command, Option, Request
from trifold.cli.process import keep_memory_of_training
from trifold.cli.together import TOGETHER, deterministic, goes_on, train_together
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.errors import TrifoldError
    from trifold.tasks import FineTuneResult
    from trifold.training import Evaluation, Event, Experiment, Result, Step

__all__ = ["COMMAND", "length_lines", "run_experiment", "show_evaluation", "show_step"]


def run(request: Request) -> dict[str, Any]:
    """Train as asked, or go on with a run."""
    values = request.values
    request = with_out(request, str((values.data or [values.experiment or "run"])[0]))
    out, resume = Path(request.values.out), goes_on(request)
    experiment = _experiment(request, out, resume=resume)
    train_together("pretrain", request, experiment.training)
    result = run_experiment(
        experiment, out, request.console, resume=resume, strict=values.strict, allow=values.allow_change or ()
    )
    return {**describe(result), **({} if request.console.follows else conclude(result, experiment, request.console))}


def conclude(result: "Result", experiment: "Experiment", console: Console) -> dict[str, Any]:
    """Say what the run comes to beside counting, and where its page is, which is written here; the figures as data."""
    from trifold.cli.report import page_of
    from trifold.evaluation.report import counted_line, write_report

    page = page_of(result.folder)
    path = write_report(result.folder, [page], title=message("cli.report_title"))
    bits = None if result.valid is None else result.valid.bits_per_byte
    if page.baselines and bits is not None:
        console.say(counted_line(bits, page.baselines, page.verdict))
    if result.valid is not None and experiment.training.keep_best:
        console.say(message("cli.held_out_chose"))
    console.say(message("cli.report_with_samples", path=path))
    return {"baselines": dict(page.baselines), "verdict": page.verdict, "report": str(path)}


def problems(request: Request) -> "Iterator[TrifoldError]":
    """What is missing, or not where it is said to be."""
    yield from missing_out(request, "pretrain")
    yield from missing_of_experiment(request, "pretrain")


def _experiment(request: Request, out: Path, *, resume: bool) -> "Experiment":
    """What is asked for; of a run that goes on, what it was begun with, unless something else is asked for."""
    from trifold.training import read_experiment

    as_begun = resume and request.values.experiment is None
    return deterministic(build_experiment(request, read_experiment(out) if as_begun else None), request)


def describe(result: "Result") -> dict[str, Any]:
    """A result as data."""
    from dataclasses import asdict

    return {**asdict(result), "folder": str(result.folder), "tokens_per_second": result.tokens_per_second}


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

    keep_memory_of_training(parallel=experiment.training.parallel)
    with Progress(console, title or out.name, every=5.0) as progress:
        result = pretrain(
            experiment, out, resume=resume, strict=strict, allow=allow, listen=lambda event: _show(event, progress)
        )
    valid = result.valid
    bits = "-" if valid is None or valid.bits_per_byte is None else f"{valid.bits_per_byte:.3f}"
    loss = "-" if valid is None else f"{valid.loss:.4f}"
    facts = {"steps": result.steps, "time": duration(result.seconds), "loss": loss, "bits": bits, "path": out}
    console.say(message("cli.trained", **facts))
    if result.valid is not None and experiment.training.keep_best:
        told = "last" if result.best_step == result.steps else "kept"
        console.say(message(f"cli.best_{told}", step=result.best_step))
    for line in length_lines(result):
        console.say(line)
    return result


def length_lines(result: "Result | FineTuneResult") -> list[str]:
    """Why a run ended, and what was predicted at its beginning beside what came of it, where steps were timed then."""
    from dataclasses import asdict

    from trifold.evaluation.report import predicted_beside_actual

    steps = {"step": result.steps, "best": result.best_step}
    lines = [message("cli.stopped_early", **steps)] if result.stopped_early else []
    rows = predicted_beside_actual(result.forecast, asdict(result))
    return lines + ([message("cli.predicted"), *(f"  {pad(name, 36)} {value}" for name, value in rows)] if rows else [])


def show_step(step: "Step", progress: Progress) -> None:
    """One step on the progress line."""
    facts = {"step": step.step, "loss": f"{step.loss:.3f}", "speed": f"{step.tokens_per_second:,.0f}"}
    progress.update(step.progress, message("cli.progress", **facts, left=duration(step.remaining)))


def show_evaluation(evaluation: "Evaluation", progress: Progress, line: str) -> None:
    """What was measured on held-out data, as a line that stays; `line` is its message."""
    bits = "-" if evaluation.bits_per_byte is None else f"{evaluation.bits_per_byte:.3f}"
    metric = "-" if evaluation.metric is None else f"{evaluation.metric:.4f}"
    facts = {"step": evaluation.step, "loss": f"{evaluation.loss:.4f}", "bits": bits, "metric": metric}
    best = message("cli.best_so_far") if evaluation.best else ""
    progress.note(message(line, **facts, name=evaluation.metric_name, best=best))


def _show(event: "Event", progress: Progress) -> None:
    if event.step is not None:
        show_step(event.step, progress)
    elif event.evaluation is not None:
        show_evaluation(event.evaluation, progress, "cli.evaluated")
    elif event.stage == "account" and event.details is not None:
        progress.note(str(event.details["line"]))
    elif event.stage == "unknown_tokens" and event.details is not None:
        note = unknown_note(float(event.details["share"]))
        if note is not None:
            progress.note(f"{message('cli.warning')} {note}")
    elif event.details is not None and f"stage_{event.stage}" in _stages():
        shown = {key: f"{value:,}" if isinstance(value, int) else value for key, value in event.details.items()}
        progress.note(message(f"cli.stage_{event.stage}", **shown))
        few = few_note(float(event.details.get("held_out_tokens", 0)))
        if few is not None:
            progress.note(f"{message('cli.warning')} {few}")


def _stages() -> tuple[str, ...]:
    return ("stage_tokenizer", "stage_data", "stage_model", "stage_embedding", "stage_attention")


COMMAND = Command(
    name="pretrain",
    options=(
        *EXPERIMENT_OPTIONS,
        Option(name="out", kind="folder"),
        *RESUME_OPTIONS,
        *TOGETHER,
    ),
    run=run,
    problems=problems,
    sections=(*SECTIONS, "patience"),
)
