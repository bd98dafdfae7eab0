"""`trifold finetune`: a pre-trained model, fine-tuned for a task and judged."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli.console import Console, Progress, duration, warn_unknown
from trifold.cli.experiment import (
    PRESETS,
    RESUME_OPTIONS,
    SIZES,
    experiment_in,
    overrides_of,
    place_options,
    with_overrides,
)
from trifold.cli.help import pad
from trifold.cli.needs import missing_files, missing_folder, missing_options, missing_out, with_out
from trifold.cli.option import READING, Command, Option, Request
from trifold.cli.pretrain import length_lines, show_evaluation, show_step
from trifold.cli.process import keep_memory_of_training
from trifold.cli.together import TOGETHER, deterministic, goes_on, train_together
from trifold.errors import UsageError
from trifold.locale import message
from trifold.task_kinds import ALIASES, KINDS, config_class

if TYPE_CHECKING:
    from trifold.errors import TrifoldError
    from trifold.tasks import FineTuneResult
    from trifold.training import Event

__all__ = ["COMMAND", "build", "missing_of_tuning", "say_judgement", "show"]

TASKS = tuple(name for kind in KINDS for name in (kind, *(also for also, of in ALIASES.items() if of == kind)))
ROLE_OPTIONS = {
    "text_field": {"text", "query", "tokens", "prompt"},
    "label_field": {"label", "score", "tags", "answers", "response", "positive"},
    "source_field": {"source"},
    "target_field": {"target"},
}
"""Which roles an option stands for: the one that the task knows."""


PLACES = {
    "train": "data.train",
    "dev": "data.dev",
    "test": "data.test",
    "tokenizer": "tokenizer.path",
    "vocab_size": "tokenizer.vocab_size",
    "lora": "lora.rank",
    "batch_size": "training.batch_size",
    "seed": "training.seed",
    "on_error": "data.on_error",
    "encoding": "data.encoding",
}
"""Where an option stands in the experiment."""


def run(request: Request) -> dict[str, Any]:
    """Fine-tune once, or once for each seed."""
    from trifold.tasks import finetune

    request = with_out(request, request.values.task or request.values.experiment or "run")
    values, console, resume = request.values, request.console, goes_on(request)
    experiment, out = deterministic(build(request, resume=resume), request), Path(values.out)
    if values.seeds > 1 and (values.processes > 1 or resume):
        raise UsageError("cli.seeds_alone", given=values.seeds)
    train_together("finetune", request, experiment.training)
    keep_memory_of_training(parallel=experiment.training.parallel)
    if values.seeds == 1:
        with Progress(console, out.name, every=5.0) as progress:
            result = finetune(
                experiment,
                out,
                resume=resume,
                strict=values.strict,
                allow=values.allow_change or (),
                listen=lambda event: show(event, progress),
            )
        console.say(message("cli.finetuned", time=duration(result.seconds), steps=result.steps, path=out))
        _say_length(result, console)
        say_judgement(result.judgement, console)
        if result.judgement["split"] == "dev":
            console.say(message("cli.judged_on_dev"))
        console.say(message("cli.report_at", path=out / "report.html"))
        return {
            "folder": str(out),
            "steps": result.steps,
            "best_step": result.best_step,
            "stopped_early": result.stopped_early,
            "seconds": result.seconds,
            "trained_parameters": result.trained_parameters,
            "account": result.account,
            "forecast": result.forecast,
            "judgement": result.judgement,
        }
    return _run_seeds(request, experiment, out)


def _say_length(result: "FineTuneResult", console: Console) -> None:
    """Which step was the best, whether more of them would help, and how right the forecast was."""
    if result.best_step is not None:
        told = "last" if result.best_step == result.steps else "kept"
        console.say(message(f"cli.best_{told}", step=result.best_step))
    if result.still_falling:
        console.say(
            message("cli.still_falling", fallen=f"{result.still_falling:.2f}", half=f"{result.still_falling / 2:.2f}")
        )
    for line in length_lines(result):
        console.say(line)


def _run_seeds(request: Request, experiment: Any, out: Path) -> dict[str, Any]:
    """One run a seed, each in a folder of its own, and the mean of what they reached."""
    from trifold.evaluation.statistics import seed_interval
    from trifold.tasks import finetune

    console = request.console
    judgements, account = [], {}
    for number in range(request.values.seeds):
        seeded = replace(experiment, training=replace(experiment.training, seed=experiment.training.seed + number))
        with Progress(console, f"{out.name}/{number}", every=5.0) as progress:
            result = finetune(seeded, out / f"seed-{number}", listen=lambda event, p=progress: show(event, p))
        judgements.append(result.judgement)
        account = result.account
    summary = {}
    for name in judgements[0]["metrics"]:
        over = seed_interval([judgement["metrics"][name]["value"] for judgement in judgements])
        summary[name] = {"mean": over.value, "low": over.low, "high": over.high, "seeds": over.n}
        console.say(f"{name:<24} {over.value:.4f}  [{over.low:.4f}, {over.high:.4f}]  n = {over.n}")
    return {"folder": str(out), "seeds": summary, "account": account, "runs": judgements}


def build(request: Request, *, resume: bool = False) -> Any:
    """The experiment of the options; where a file gives one, or the run that goes on, options beside it replace its values.

    Raises:
        ConfigError, UsageError: something is missing or out of range.
    """
    from trifold.config import from_json, override, to_json
    from trifold.tasks.experiment import FineTuning
    from trifold.tasks.fit import fit_tuning, with_training
    from trifold.training import read_experiment

    values = request.values
    begun = None
    if values.experiment is not None:
        begun = experiment_in(Path(values.experiment), FineTuning)
    elif resume:
        begun = read_experiment(values.out, FineTuning)
    data = {} if begun is None else to_json(begun)
    for name, section in request.sections.items():
        data[name] = {**data.get(name, {}), **section} if isinstance(section, dict) else section
    named = values.model is not None or "model" in data
    _apply(request, data)
    whole = from_json(FineTuning, data if begun is not None else with_training(data), where="experiment")
    experiment = override(whole, request.overrides, where="experiment")
    if not (named or experiment.model.start or request.console.follows):
        request.console.note(message(experiment.task.no_model, preset=experiment.model.preset))
    if begun is not None:
        return experiment
    fitted = fit_tuning(
        with_overrides(data, request, to_json(experiment)), measure=getattr(values, "processes", 1) == 1
    )
    for line in () if request.console.follows else fitted.notes:
        request.console.note(line)
    return fitted.experiment


def problems(request: Request) -> "Iterator[TrifoldError]":
    """What is missing, or not where it is said to be."""
    yield from missing_out(request, "finetune")
    yield from missing_of_tuning(request, "finetune")


def missing_of_tuning(request: Request, command: str) -> "Iterator[TrifoldError]":
    """What a fine-tuning lacks, and which of its files and folders are not where they are said to be."""
    values = request.values
    if not values.experiment and not getattr(values, "resume", False):
        said = {"task": "task" in request.sections, "--train": "train" in request.sections.get("data", {})}
        yield from missing_options(request, command, [name for name, there in said.items() if not there])
    yield from missing_files([*(values.train or ()), *(values.dev or ()), *(values.test or ())])
    yield from missing_folder(values.model, PRESETS)


def _apply(request: Request, data: dict[str, Any]) -> None:
    """Put the options that were given into the experiment's JSON."""
    values, options = request.values, request.given
    if values.task is not None:
        data["task"] = _task(values.task, data.get("task", {}))
    model = _start(request, data)
    if model is not None:
        data["model"] = {**_model(values, model, data.get("model", {})), **request.sections.get("model", {})}
    elif values.overrides:
        data["model"]["overrides"] = {**data["model"]["overrides"], **overrides_of(values.overrides)}
    place_options(request, PLACES, data)
    columns = _columns(data["task"]["kind"], request)
    data["data"]["columns"] = {**data["data"].get("columns", {}), **columns}
    if {"epochs", "steps", "minutes"} & options:
        steps = values.steps if values.minutes is not None else values.steps or 1
        lengths = {"steps": steps, "tokens": None, "minutes": values.minutes}
        data["training"] = data.get("training", {}) | lengths
        data["epochs"] = values.epochs
    if values.label_names is not None:
        data["task"]["label_names"] = [name for names in values.label_names for name in names.split(",")]
    if values.metric is not None:
        data["metric"] = values.metric
    if values.lr is not None:
        training = data.setdefault("training", {})
        training["optimizer"] = {**training.get("optimizer", {}), "lr": values.lr}


def _start(request: Request, data: dict[str, Any]) -> str | None:
    """The model that is named, or the usual family of the task where nothing says which; None where something does."""
    if request.values.model is not None or "model" in data:
        return request.values.model
    return str(config_class(data["task"]["kind"]).family)


def _task(name: str, own: dict[str, Any]) -> dict[str, Any]:
    """A task by its name, with what is known of it already unless that is another's."""
    kind = ALIASES.get(name, name)
    if kind not in KINDS:
        raise UsageError("cli.bad_value", option="TASK", given=name, allowed=", ".join(TASKS), hint="")
    return {**own, "kind": kind} if own.get("kind", kind) == kind else {"kind": kind}


def _model(values: Any, name: str, before: dict[str, Any]) -> dict[str, Any]:
    """A preset by name starts from random weights; anything else is a run, a folder or a hub name.

    Another start than that of an experiment file takes the same overrides.
    """
    overrides = overrides_of(values.overrides or [])
    if name not in PRESETS:
        return {
            "start": name,
            "overrides": {**(before["overrides"] if before.get("start") else {}), **overrides},
        }
    chosen: dict[str, Any] = {"preset": name, "overrides": overrides}
    return chosen | ({"size": values.size} if values.size else {})


def _columns(kind: str, request: Request) -> dict[str, str]:
    """Columns by role, from the options that name them."""
    known = {role.name for role in config_class(kind).roles}
    columns = {}
    for option, roles in ROLE_OPTIONS.items():
        if option in request.given:
            role = next(iter(sorted(roles & known)), None)
            if role is None:
                name = f"--{option.replace('_', '-')}"
                raise UsageError("cli.no_such_option", given=name, command=f"finetune {kind}", hint="")
            columns[role] = getattr(request.values, option)
    return columns


def show(event: "Event", progress: Progress) -> None:
    """One event on the progress line."""
    if event.step is not None:
        show_step(event.step, progress)
    elif event.evaluation is not None:
        line = "cli.evaluated_loss" if event.evaluation.metric_name == "loss" else "cli.evaluated_task"
        show_evaluation(event.evaluation, progress, line)
    elif event.stage == "account" and event.details is not None:
        progress.note(str(event.details["line"]))
    elif event.stage == "few" and event.details is not None:
        progress.console.warn(message("task.few_judged", **event.details))
    elif event.stage in ("examples", "head", "linear", "new_head", "tokens_added") and event.details is not None:
        progress.note(message(f"cli.stage_{event.stage}", **event.details))


def say_judgement(judgement: dict[str, Any], console: Console) -> None:
    """Metrics with their intervals, baselines beside them, and what else a person should know."""
    from trifold.tasks.report import baseline_name, verdict_line

    rows = {"": judgement["metrics"], **judgement.get("baselines", {})}
    console.say(message("cli.judged", n=judgement["n"], split=judgement.get("split", "-")))
    for who, metrics in rows.items():
        for name, score in metrics.items():
            label = baseline_name(who) if who else message("cli.this_model")
            console.say(
                f"  {pad(label, 28)} {name:<18} {score['value']:8.4f}  [{score['low']:.4f}, {score['high']:.4f}]"
            )
    if "verdict" in judgement:
        console.say(verdict_line(judgement))
    if "contamination" in judgement:
        known = judgement["contamination"]
        console.say(message("cli.contamination", exact=known["exact"], near=known["near"]))
        for name, score in known.get("without", {}).items():
            label = message("cli.without_known")
            console.say(
                f"  {pad(label, 28)} {name:<18} {score['value']:8.4f}  [{score['low']:.4f}, {score['high']:.4f}]"
            )
    warn_unknown(judgement.get("unknown_tokens", 0.0), console)
    if "calibration" in judgement:
        calibration = judgement["calibration"]
        console.say(
            message(
                "cli.calibration",
                error=f"{calibration['expected_calibration_error']:.4f}",
                temperature=calibration["temperature"],
            )
        )


COMMAND = Command(
    name="finetune",
    options=(
        Option(name="task", positional=True, choices=TASKS, help="option_task"),
        Option(name="model", help="option_model"),
        Option(name="train", kind="file", many=True),
        Option(name="dev", kind="file", many=True),
        Option(name="test", kind="file", many=True),
        Option(name="out", kind="folder"),
        Option(name="lora", kind="integer", low=1),
        Option(name="epochs", kind="number", above=0),
        Option(name="steps", kind="integer", low=1),
        Option(name="minutes", kind="number", above=0),
        Option(name="seeds", kind="integer", low=1, high=100, default=1),
        *RESUME_OPTIONS,
        *TOGETHER,
        Option(name="text-field", group="data"),
        Option(name="label-field", group="data"),
        Option(name="label-names", many=True, group="data"),
        Option(name="source-field", group="data"),
        Option(name="target-field", group="data"),
        *READING,
        Option(name="size", choices=SIZES, group="training"),
        Option(name="overrides", many=True, group="training"),
        Option(name="tokenizer", group="training"),
        Option(name="vocab-size", kind="integer", low=16, group="training"),
        Option(name="batch-size", kind="integer", low=1, group="training", help="option_batch_examples"),
        Option(name="lr", kind="number", above=0, group="training"),
        Option(name="metric", group="training"),
        Option(name="seed", kind="integer", low=0, group="training"),
        Option(name="experiment", kind="file"),
    ),
    run=run,
    problems=problems,
    sections=("model", "task", "data", "training", "tokenizer", "lora", "epochs", "freeze", "metric", "patience"),
)
