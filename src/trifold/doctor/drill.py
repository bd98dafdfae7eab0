"""Faults rehearsed on a copy of a run, so that its owner sees what would happen; the run itself is only read."""

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from trifold.checkpoint import checkpoints, folder_size, place_of, require_room, verify
from trifold.doctor import resume
from trifold.doctor.finding import Finding, not_for
from trifold.errors import ModelFileError, StorageError, UsageError

__all__ = ["DRILLS", "rehearse"]

MORE_STEPS, MOST_FLIPS, HASHED = 4, 500, 20 * 2**30


def rehearse(name: str, run: Path, place: Path) -> Finding:
    """Rehearse one fault.

    Args:
        name: `kill-resume`, `disk-full` or `bit-flip`.
        run: a run of `trifold pretrain` or `trifold finetune` with at least one checkpoint; only read.
        place: an empty folder for the copy.

    Raises:
        UsageError: the run has no checkpoint.
        StorageError: there is no room for the copy.
    """
    if not checkpoints(run / "checkpoints"):
        raise UsageError("doctor.no_checkpoint", path=run)
    require_room(place, 3 * folder_size(run), "doctor.no_room")
    return DRILLS[name](run, place)


def _copy(run: Path, place: Path) -> Path:
    """The run without its lock, told to train a few steps more and to save after each."""
    shutil.copytree(run, place, ignore=shutil.ignore_patterns(".*"), symlinks=True)
    return place


def _more(run: Path) -> list[str]:
    """The words that go on with a run for a few steps."""
    step = place_of(checkpoints(run / "checkpoints")[-1])[0]
    here = ("threads", "torch", "device", "dtype")  # both copies go on under the circumstances of now
    length = ("--steps", str(step + MORE_STEPS), "training.checkpoint_every=1")
    return ["--resume", "--allow-change", *here, *length]


def kill_resume(run: Path, place: Path) -> Finding:
    """Kill a copy after its next checkpoint, let it go on, and compare with a copy that nobody killed."""
    whole, killed = _copy(run, place / "whole"), _copy(run, place / "killed")
    words = _more(run)
    failed = resume.run(whole, *words) or resume.kill_after_first(killed, *words) or resume.run(killed, *words)
    if failed:
        return Finding(False, failed)
    same = resume.state(whole) == resume.state(killed)
    return Finding(same, not_for("killed", steps=MORE_STEPS).detail)


def disk_full(run: Path, place: Path) -> Finding:
    """Let a copy go on with a limit on file sizes that its next checkpoint does not keep to."""
    try:
        import resource
    except ImportError:  # as on Windows
        return not_for("no_limits")
    copy = _copy(run, place / "full")
    before = checkpoints(copy / "checkpoints")
    largest = max(path.stat().st_size for path in checkpoints(copy / "checkpoints")[-1].iterdir())

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2))

    words = resume.command(copy, *_more(run))
    done = subprocess.run(words, capture_output=True, text=True, timeout=resume.PATIENCE, check=False, preexec_fn=limit)  # noqa: S603
    kept = all(map(_is_whole, before))
    said = done.stderr.strip().splitlines()[-1:] or [""]
    return Finding(done.returncode == StorageError.exit_code and kept, said[0])


def bit_flip(run: Path, place: Path) -> Finding:
    """Flip single bits of the newest checkpoint, one at a time; each must be noticed."""
    copy = _copy(run, place / "flipped")
    newest = checkpoints(copy / "checkpoints")[-1]
    files = sorted(path for path in newest.iterdir() if path.stat().st_size)
    flips = max(20, min(MOST_FLIPS, HASHED // folder_size(newest)))
    chance, noticed = random.Random(0), 0
    for _ in range(flips):
        path = chance.choice(files)
        place_in_file, bit = chance.randrange(path.stat().st_size), 1 << chance.randrange(8)
        _flip(path, place_in_file, bit)
        noticed += not _is_whole(newest)
        _flip(path, place_in_file, bit)
    return Finding(noticed == flips and _is_whole(newest), not_for("flips", noticed=noticed, flips=flips).detail)


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except ModelFileError:
        return False
    return True


def _flip(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        old = file.read(1)[0]
        file.seek(place)
        file.write(bytes([old ^ bit]))


DRILLS: dict[str, Callable[[Path, Path], Finding]] = {
    "kill-resume": kill_resume,
    "disk-full": disk_full,
    "bit-flip": bit_flip,
}
