"""What commands that train have in common: several processes, and runs that go on."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli.option import Option, Request
from trifold.errors import UsageError

if TYPE_CHECKING:
    from trifold.training import Training

__all__ = ["TOGETHER", "deterministic", "goes_on", "train_together"]

TOGETHER = (
    Option(name="processes", kind="integer", low=1, default=1, group="training"),
    Option(name="deterministic", kind="flag", default=False, group="training"),
)


def goes_on(request: Request) -> bool:
    """Whether the run in `--out` goes on: asked for, or torchrun started this process again after it had begun the run."""
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    return request.values.resume or (restarted and (Path(request.values.out) / "trifold.json").exists())


def deterministic(experiment: Any, request: Request) -> Any:
    """The experiment with the same bits for any number of processes, where that is asked for."""
    if not request.values.deterministic:
        return experiment
    return replace(experiment, training=replace(experiment.training, deterministic=True))


def train_together(command: str, request: Request, training: "Training") -> None:
    """Where several processes are asked for, start them and end as they do; go on where this is one of them, or alone.

    Raises:
        ConfigError: a step's passes cannot be shared.
        UsageError: another number of processes was started together.
        SystemExit: they are done; they have said all there is to say.
    """
    wanted, there = request.values.processes, os.environ.get("WORLD_SIZE", "1")
    if wanted > 1 and "RANK" not in os.environ:
        from trifold.cli.launch import launch
        from trifold.training.distributed import require_split

        require_split(training, wanted)
        raise SystemExit(launch([command, *request.words], wanted))
    if wanted not in (1, int(there)):
        raise UsageError("cli.other_processes", given=wanted, there=there)
