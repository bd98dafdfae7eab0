"""`trifold config`: the whole experiment that options stand for, as a file to keep."""

from typing import Any

from trifold.cli.experiment import EXPERIMENT_OPTIONS, SECTIONS, build_experiment
from trifold.cli.option import Command, Request

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Print it as YAML, or as JSON with `--json`."""
    import yaml

    from trifold.config import to_json

    data = to_json(build_experiment(request))
    request.console.say(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")
    return data


COMMAND = Command(name="config", options=EXPERIMENT_OPTIONS, run=run, sections=(*SECTIONS, "patience"))
