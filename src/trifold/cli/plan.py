"""`trifold plan`: what a run will need, before it starts; and how right that was, after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trifold.cli.console import duration
from trifold.cli.experiment import EXPERIMENT_OPTIONS, SECTIONS, build_experiment, missing_of_experiment
from trifold.cli.option import Command, Option, Request
from trifold.errors import TrifoldError
from trifold.locale import message

__all__ = ["COMMAND"]


def problems(request: Request) -> Iterator[TrifoldError]:
    """What is missing, or not where it is said to be."""
    yield from missing_of_experiment(request, "plan")


def run(request: Request) -> dict[str, Any]:
    """Show the numbers."""
    from trifold.evaluation.forecast import forecast
    from trifold.text import Tokenizer
    from trifold.training import read_experiment
    from trifold.training.description import read_description

    done: dict[str, Any] = {}
    tokenizer = None
    if request.values.run is not None:
        experiment = read_experiment(request.values.run)
        done = read_description(Path(request.values.run)).get("result") or {}
        tokenizer = Tokenizer.from_pretrained(request.values.run)
    else:
        experiment = build_experiment(request, measure=not request.values.no_measure)
    found = forecast(experiment, measure=not request.values.no_measure, tokenizer=tokenizer)
    facts: dict[str, Any] = found.as_dict()
    for name, value in facts.items():
        if value is not None:
            request.console.say(f"{message(f'cli.plan_{name}'):<44} {_shown(name, value)}")
    if done:
        actual = {"seconds": done["seconds"], "target_tokens": done["tokens"], "steps": done["steps"]}
        request.console.say(message("cli.plan_actual"))
        for name, value in actual.items():
            expected = facts.get(name)
            ratio = f"  ({value / expected:.2f} x)" if expected else ""
            request.console.say(f"{message(f'cli.plan_{name}'):<44} {_shown(name, value)}{ratio}")
        facts["actual"] = actual
    return facts


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
