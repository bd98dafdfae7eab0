"""`trifold plan`: what a run will need and what to expect of it, before it starts; and how right that was, after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli.console import Console, duration
from trifold.cli.experiment import EXPERIMENT_OPTIONS, SECTIONS, build_experiment, missing_of_experiment
from trifold.cli.help import pad
from trifold.cli.option import Command, Option, Request
from trifold.errors import TrifoldError
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.training.forecast import Forecast

__all__ = ["COMMAND"]

SHOWN = (
    "parameters", "embedding", "encoder", "decoder", "head", "memory", "available_bytes", "step_flops", "step_seconds",
    "steps", "target_tokens", "flops", "seconds", "tokens_per_second", "epochs", "best_step",
)  # fmt: skip


def problems(request: Request) -> Iterator[TrifoldError]:
    """What is missing, or not where it is said to be."""
    yield from missing_of_experiment(request, "plan")


def run(request: Request) -> dict[str, Any]:
    """Show the numbers."""
    from trifold.text import Tokenizer
    from trifold.training import read_experiment
    from trifold.training.description import read_description
    from trifold.training.forecast import forecast

    measure, known, tokenizer = not request.values.no_measure, dict[str, Any](), None
    if request.values.run is not None:
        experiment = read_experiment(request.values.run)
        known = read_description(Path(request.values.run))
        tokenizer = Tokenizer.from_pretrained(request.values.run)
    else:
        experiment = build_experiment(request, measure=measure)
    expected = forecast(experiment, measure=measure, tokenizer=tokenizer)
    facts: dict[str, Any] = expected.as_dict()
    for name in SHOWN:
        if facts[name] is not None:
            request.console.say(f"{pad(message(f'cli.plan_{name}'), 44)} {_shown(name, facts[name])}")
    for line in _expectations(expected, timed=experiment.training.minutes is not None):
        request.console.say(line)
    return {**facts, **_after(known, facts, request.console)}


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
    actual = {"seconds": result["seconds"], "steps": result["steps"], "target_tokens": result["tokens"],
              "best_step": result.get("best_step", result["steps"])}  # fmt: skip
    actual["tokens_per_second"] = result["tokens"] / result["seconds"] if result["seconds"] else None
    console.say(message("cli.plan_actual"))
    for name, value in actual.items():
        expected = before.get(name)
        if value is not None:
            ratio = f"  ({value / expected:.2f} x)" if expected else ""
            console.say(f"{pad(message(f'cli.plan_{name}'), 44)} {_shown(name, value)}{ratio}")
    return {"predicted": {name: before.get(name) for name in actual}, "actual": actual}


def _shown(name: str, value: float) -> str:
    if name == "seconds":
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
