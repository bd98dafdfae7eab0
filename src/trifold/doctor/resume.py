"""A run that is killed and goes on, beside one that nobody kills: real processes, a real SIGKILL."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from trifold.checkpoint import checkpoints
from trifold.config import to_json
from trifold.doctor.finding import Finding, not_for
from trifold.doctor.subject import Subject
from trifold.locale import message
from trifold.training import Experiment, ModelChoice
from trifold.training.description import read_description

__all__ = ["command", "kill_after_first", "resume", "state"]

SMALL_ENOUGH = 8_000_000
"""Parameters; a larger model is stood in for by a small one of its family, for each checkpoint is written many times."""
PATIENCE = 100.0
PAUSE = 0.005


def resume(subject: Subject) -> Finding:
    """Killed by SIGKILL after its first checkpoint, a run goes on to the same bits."""
    experiment, stands_in = _experiment(subject)
    if experiment is None:
        return not_for("no_small_model")
    for name in ("whole", "killed"):
        (subject.place / f"{name}.json").write_text(json.dumps(to_json(experiment)), encoding="utf-8")
    whole, killed = subject.place / "whole", subject.place / "killed"
    failed = run(whole) or kill_after_first(killed)
    failed = failed or run(killed, "--resume")
    if failed:
        return Finding(False, failed)
    same = state(whole) == state(killed)
    return Finding(same, not_for("stood_in" if stands_in else "killed", steps=experiment.training.steps).detail)


def _experiment(subject: Subject) -> tuple[Experiment | None, bool]:
    """The subject's short training, with a small model of the same family in place of a large one."""
    model = subject.model
    if model.num_parameters() <= SMALL_ENOUGH:
        return subject.experiment, False
    if model.preset is None:
        return None, False
    name = subject.experiment.model.preset or model.preset.model_type
    name = {"marian": "vaswani"}.get(name, name)
    small = ModelChoice(
        preset=name, size="tiny", overrides={"vocab_size": model.config.vocab_size, "d_model": 64, "num_heads": 2}
    )
    lengths = replace(subject.experiment.tokenizer, path=str(subject.folder) if subject.folder else None)
    return replace(subject.experiment, model=small, tokenizer=lengths), True


def command(out: Path, *more: str) -> list[str]:
    """The command line of a run that goes on, or begins with the experiment beside its folder."""
    tunes = (out / "trifold.json").is_file() and "task" in read_description(out)["experiment"]
    words = more or ("--config", str(out.with_suffix(".json")))
    return [sys.executable, "-m", "trifold", "finetune" if tunes else "pretrain", "--out", str(out), *words]


def run(out: Path, *more: str) -> str | None:
    """Run to the end; what it said where it failed."""
    done = subprocess.run(command(out, *more), capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    return None if done.returncode == 0 else done.stderr.strip()[-500:]


def kill_after_first(out: Path, *more: str) -> str | None:
    """Start a run and kill it once a new checkpoint stands there; None where that was done."""
    with subprocess.Popen(command(out, *more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:  # noqa: S603
        before, end = checkpoints(out / "checkpoints")[-1:], time.monotonic() + PATIENCE
        while child.poll() is None and time.monotonic() < end and checkpoints(out / "checkpoints")[-1:] == before:
            time.sleep(PAUSE)
        child.send_signal(signal.SIGKILL)
        said = child.communicate()[1].strip()[-500:]
    killed = child.returncode == -signal.SIGKILL and checkpoints(out / "checkpoints")[-1:] != before
    return None if killed else said or message("doctor.not_killed")


def state(out: Path) -> dict[str, str]:
    """Hashes of all that the newest checkpoint of a run holds; wall-clock time left out."""
    folder = checkpoints(out / "checkpoints")[-1]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}
    numbers = json.loads((folder / "state.json").read_text(encoding="utf-8")) | {"seconds": 0}
    return found | {"state": json.dumps(numbers, sort_keys=True), "name": folder.name}
