"""`trifold config`: the whole experiment that options stand for, as a file to keep."""

from collections.abc import Iterator
from typing import Any

from trifold.cli.experiment import EXPERIMENT_OPTIONS, SECTIONS, build_experiment, missing_of_experiment
from trifold.cli.option import Command, Request
from trifold.errors import TrifoldError

__all__ = ["COMMAND"]


def problems(request: Request) -> Iterator[TrifoldError]:
    """What is missing, or not where it is said to be."""
    yield from missing_of_experiment(request, "config")


def run(request: Request) -> dict[str, Any]:
    """Print it as YAML, or as JSON with `--json`."""
    import yaml

    from trifold.config import to_json

    data = to_json(build_experiment(request))
    request.console.say(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")
    return data


COMMAND = Command(
    name="config", options=EXPERIMENT_OPTIONS, run=run, problems=problems, sections=(*SECTIONS, "patience")
)
