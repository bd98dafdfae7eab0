"""Run with the shim preloaded: saves of a tiny run, cut, refused or recorded at every call that they make.

LD_PRELOAD=shim.so python -m tests.faults.saving FOLDER MODE [MODE ...]    # cut, refuse, refuse_all, space, record
"""

import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from tests.faults.child import Child
from tests.unit.training.test_trainer import NextToken, Rows
from trifold.checkpoint import newest, place_of, recover
from trifold.checkpoint.store import checkpoints
from trifold.errors import TrifoldError
from trifold.presets.pretrained import Transformer
from trifold.text import train_tokenizer
from trifold.training import AdamW, Muon, Trainer, Training
from trifold.training.save import Saver, load_checkpoint

SPACES = 32
REFUSALS = (errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT)


def make(root: Path) -> tuple[Trainer, Saver]:
    """A trainer after one whole step and a part of the next, whose first step is saved."""
    tokenizer = train_tokenizer(
        ["to be or not to be that is the question"], kind="character", vocab_size=29, num_sentinels=2
    )
    torch.manual_seed(0)
    model = Transformer.from_preset("llama", size="tiny", vocab_size=29, num_layers=1, d_model=16, num_heads=2, d_ff=24,
                                    num_kv_heads=1, max_length=32)  # fmt: skip
    training = Training(steps=4, accumulation=2, dtype="float32", optimizer=Muon(adamw=AdamW(lr=1e-2)),
                        save_in_background=False, keep_checkpoints=2)  # fmt: skip
    trainer = Trainer(model, NextToken(), Rows(), training)
    return trainer, Saver(root, trainer, tokenizer)


def advance(trainer: Trainer, steps: int) -> None:
    """So many steps more."""
    for number, _ in enumerate(trainer.steps(), 1):
        if number == steps:
            return


def digest(trainer: Trainer) -> str:
    """Of all that a later process gets from it."""
    tensors, numbers = trainer.state()
    total = hashlib.sha256(json.dumps(numbers | {"seconds": 0}, sort_keys=True).encode())
    for _, value in sorted((tensors | trainer.weights.exact).items()):
        total.update(value.detach().contiguous().view(torch.uint8).numpy().tobytes() if value.ndim else b"")
    return total.hexdigest()


def finish(root: Path) -> str:
    """Go on from what is there to the end."""
    trainer, _ = make(root.with_name("other"))
    assert load_checkpoint(root, trainer) is not None
    list(trainer.steps())
    return digest(trainer)


def snapshot(root: Path) -> dict[str, str]:
    """Every published file and its hash."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for folder in checkpoints(root) for path in folder.rglob("*") if path.is_file()}  # fmt: skip


def explore(root: Path, start: Callable[[int], None], until: int) -> list[dict]:
    """Save the second step in a child, each time with another fault, and look at what is there afterwards."""
    trainer, saver = make(root)
    advance(trainer, 1)
    saver.save()
    before = snapshot(root)
    advance(trainer, 1)
    whole, _ = make(root.with_name("whole"))
    list(whole.steps())
    expected, found, number = digest(whole), [], 0
    ends: dict[
        tuple[tuple[str, str], ...], str
    ] = {}  # of the states that were gone on from: the same files end the same

    def save(point: int) -> dict:
        start(point)
        try:
            saver.save()
        except TrifoldError as error:
            shim.shim_start(b"", -1, -1, 0, -1, -1)
            return {
                "error": type(error).__name__,
                "code": error.code,
                "values": {k: str(v) for k, v in error.values.items()},
            }
        made = shim.shim_count()
        shim.shim_start(b"", -1, -1, 0, -1, -1)
        return {"error": None, "calls": made}

    while number < until:
        number += 1
        child = Child(lambda n=number: save(n))
        code = child.wait()
        assert code in (0, 77), f"point {number}: the child ended with {code}"
        said = json.loads(os.fdopen(child.reading).read()) if code == 0 else {"error": "cut"}
        kept = all(snapshot(root).get(path) == hashed for path, hashed in before.items())
        clean = [path.name for path in root.iterdir() if path.name.startswith(".")] if code == 0 else []
        recover(root)
        there = newest(root)
        assert there is not None
        step = place_of(there)[0]
        state = tuple(sorted(snapshot(root).items()))
        ends[state] = ends.get(state) or finish(root)
        same = ends[state] == expected
        left = [path.name for path in root.iterdir() if path not in checkpoints(root)]
        found.append({"point": number, **said, "step": step, "kept": kept, "same": same, "left": left, "dirty": clean})
        for folder in checkpoints(root):
            if place_of(folder)[0] != 1:
                shutil.rmtree(folder)
        if said.get("calls", number) < number:  # the save had made all its calls before
            break
    return found


def record(root: Path) -> list[list[str]]:
    """What a save does to the disk, call by call."""
    trainer, saver = make(root)
    advance(trainer, 1)
    saver.save()
    advance(trainer, 1)
    journal = root.with_name("journal")
    handle = os.open(journal, os.O_CREAT | os.O_WRONLY)
    shim.shim_start(bytes(root), -1, -1, 0, -1, handle)
    saver.save()
    shim.shim_start(b"", -1, -1, 0, -1, -1)
    os.close(handle)
    return [line.split("\t") for line in journal.read_text().splitlines()]


def find(folder: Path, mode: str) -> object:
    """What one mode finds."""
    root = folder / "checkpoints"
    name = bytes(root)
    if mode == "cut":
        return explore(root, lambda n: shim.shim_start(name, n, -1, 0, -1, -1), 1000)
    if mode.startswith("refuse"):
        found = []
        for code in REFUSALS if mode == "refuse_all" else REFUSALS[:2]:
            found += explore(_fresh(root), lambda n, c=code: shim.shim_start(name, -1, n, c, -1, -1), 1000)
        return found
    if mode == "space":
        trainer, saver = make(_fresh(root))
        advance(trainer, 2)
        saver.save()
        size = sum(path.stat().st_size for path in checkpoints(root)[0].iterdir())
        points = [0, 1, 4096, *(size * n // (SPACES - 3) for n in range(1, SPACES - 3)), size - 1]
        return explore(_fresh(root), lambda n: shim.shim_start(name, -1, -1, 0, points[n - 1], -1), len(points))
    return record(root)


def _fresh(root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    return root


if __name__ == "__main__":
    torch.set_num_threads(1)
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    shim.shim_start.argtypes = [
        ctypes.c_char_p,
        ctypes.c_long,
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_long,
        ctypes.c_int,
    ]
    shim.shim_count.restype = ctypes.c_long
    place, *modes = sys.argv[1:]
    sys.stdout.write(json.dumps({mode: find(Path(place) / mode, mode) for mode in modes}))
