"""`trifold plan`: what a run will need and what to expect of it, before it starts; and how right that was, after it.

`trifold plan finetune` does for fine-tuning, with its options, what `trifold plan` does for pre-training.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli import finetune as tuning
from trifold.cli.console import Console, duration
from trifold.cli.experiment import EXPERIMENT_OPTIONS, SECTIONS, build_experiment, missing_of_experiment
from trifold.cli.help import pad
from trifold.cli.option import Command, Option, Request
from trifold.errors import TrifoldError
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.tasks.experiment import FineTuning
    from trifold.training import Experiment
    from trifold.training.forecast import Forecast

__all__ = ["COMMAND", "TUNING"]

OF_A_RUN = {"out", "seeds", "resume", "strict", "allow-change", "processes", "deterministic"}
"""Options of `finetune` that say nothing of what it takes."""
SHOWN = (
    "parameters", "embedding", "encoder", "decoder", "head", "memory", "available_bytes", "step_flops", "step_seconds",
    "steps", "target_tokens", "flops", "seconds", "tokens_per_second", "examples_per_second", "linear_seconds",
    "evaluations", "evaluation_seconds", "epochs", "best_step",
)  # fmt: skip


def problems(request: Request) -> Iterator[TrifoldError]:
    """What is missing, or not where it is said to be."""
    yield from missing_of_experiment(request, "plan")


def run(request: Request) -> dict[str, Any]:
    """Show the numbers."""
    from trifold.tasks.build import is_fine_tuned
    from trifold.text import Tokenizer
    from trifold.training import read_experiment
    from trifold.training.description import read_description
    from trifold.training.forecast import forecast

    measure, done = not request.values.no_measure, request.values.run
    if done is not None and is_fine_tuned(done):
        return _of_tuned(Path(done), request)
    if done is None:
        experiment = build_experiment(request, measure=measure)
        return _say(forecast(experiment, measure=measure), request.console, timed=_is_timed(experiment))
    experiment, tokenizer = read_experiment(done), Tokenizer.from_pretrained(done)
    expected = forecast(experiment, measure=measure, tokenizer=tokenizer)
    facts = _say(expected, request.console, timed=_is_timed(experiment))
    return {**facts, **_after(read_description(Path(done)), facts, request.console)}


def run_tuning(request: Request) -> dict[str, Any]:
    """Show the numbers of a fine-tuning."""
    from trifold.tasks.pace import plan_tuning

    experiment = tuning.build(request)
    expected = plan_tuning(experiment, measure=not request.values.no_measure)
    return _say(expected, request.console, timed=_is_timed(experiment))


def _of_tuned(folder: Path, request: Request) -> dict[str, Any]:
    """What a finished fine-tuning took, beside what it predicted at its beginning, or else what is predicted now."""
    from trifold.tasks.experiment import FineTuning
    from trifold.tasks.pace import plan_tuning
    from trifold.training import read_experiment
    from trifold.training.description import read_description

    known = read_description(folder)
    facts = known.get("forecast")
    if facts is None:
        experiment = read_experiment(folder, FineTuning)
        expected = plan_tuning(experiment, measure=not request.values.no_measure)
        facts = _say(expected, request.console, timed=_is_timed(experiment))
    return {**facts, **_after(known, facts, request.console)}


def _is_timed(experiment: "Experiment | FineTuning") -> bool:
    """Whether its length is given in minutes."""
    return experiment.training.minutes is not None and getattr(experiment, "epochs", None) is None


def _say(expected: "Forecast", console: Console, *, timed: bool) -> dict[str, Any]:
    """Show a forecast, and give it as data."""
    facts: dict[str, Any] = expected.as_dict()
    for name in SHOWN:
        if facts[name] is not None:
            key = "cli.plan_readings" if name == "epochs" and expected.evaluations else f"cli.plan_{name}"
            console.say(f"{pad(message(key), 44)} {_shown(name, facts[name])}")
    whole = expected.whole_seconds
    if whole is not None:
        end = datetime.now().astimezone() + timedelta(seconds=whole)
        facts["ends"] = end.isoformat(timespec="minutes")
        console.say(message("cli.plan_ends", end=f"{end:%Y-%m-%d %H:%M}", whole=duration(whole)))
    for line in _expectations(expected, timed=timed):
        console.say(line)
    return facts


def _expectations(expected: "Forecast", *, timed: bool) -> list[str]:
    """What the numbers mean, in sentences."""
    lines, step = [], expected.step_time
    if step is not None and step.busy:
        told = {"now": f"{step.now:.2f}", "free": f"{step.free:.2f}", "times": f"{step.now / step.free:.1f}"}
        lines.append(message("cli.plan_busy", **told))
        if timed and expected.steps is not None:
            fewer = int(expected.steps * step.free / step.now)
            lines.append(message("cli.plan_busy_steps", steps=f"{expected.steps:,}", fewer=f"{fewer:,}"))
        elif expected.seconds is not None and expected.seconds_now is not None:
            both = {"free": duration(expected.seconds), "now": duration(expected.seconds_now)}
            lines.append(message("cli.plan_busy_time", **both))
    if expected.steps is not None and expected.best_step is not None and expected.best_step < expected.steps:
        steps = {"best": f"{expected.best_step:,}", "steps": f"{expected.steps:,}"}
        lines.append(message("cli.plan_shorter", **steps, part=f"{expected.best_step / expected.steps:.0%}"))
    if expected.better_size is not None and expected.better_parameters is not None:
        kind = "smaller" if expected.better_parameters < 1 else "larger"
        times = f"{expected.better_parameters:.2g}"
        lines.append(message(f"cli.plan_{kind}", size=expected.better_size, times=times))
    return lines


def _after(known: dict[str, Any], facts: dict[str, Any], console: Console) -> dict[str, Any]:
    """What a finished run took, beside what was predicted: at its beginning, else now."""
    result = known.get("result")
    if not result:
        return {}
    before = known.get("forecast") or facts
    tokens = result.get("tokens")
    actual = {"seconds": result["seconds"], "steps": result["steps"], "target_tokens": tokens,
              "best_step": result.get("best_step", result["steps"])}  # fmt: skip
    actual["tokens_per_second"] = tokens / result["seconds"] if tokens and result["seconds"] else None
    console.say(message("cli.plan_actual"))
    for name, value in actual.items():
        expected = before.get(name)
        if value is not None:
            ratio = f"  ({value / expected:.2f} x)" if expected else ""
            console.say(f"{pad(message(f'cli.plan_{name}'), 44)} {_shown(name, value)}{ratio}")
    return {"predicted": {name: before.get(name) for name in actual}, "actual": actual}


def _shown(name: str, value: float) -> str:
    if name in ("seconds", "linear_seconds", "evaluation_seconds"):
        return duration(value)
    if name.endswith("bytes") or name == "memory":
        return f"{value / 2**30:,.2f} GiB"
    if name.endswith("flops"):
        return f"{value:.3g}"
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:.2f}"


COMMAND = Command(
    name="plan",
    options=(
        Option(name="run", positional=True, help="option_run_done"),
        *EXPERIMENT_OPTIONS,
        Option(name="no-measure", kind="flag", default=False),
    ),
    run=run,
    problems=problems,
    sections=(*SECTIONS, "patience"),
)
TUNING = Command(
    name="plan finetune",
    options=(
        *(option for option in tuning.COMMAND.options if option.name not in OF_A_RUN),
        Option(name="no-measure", kind="flag", default=False),
    ),
    run=run_tuning,
    problems=lambda request: tuning.missing_of_tuning(request, "plan finetune"),
    sections=tuning.COMMAND.sections,
)
