"""Checkpoints of a run, and its final model."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trifold.checkpoint import newest, publish, retain
from trifold.checkpoint.hugging_face import read_extra
from trifold.errors import ModelFileError
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer
from trifold.training.trainer import Trainer

__all__ = ["load_checkpoint", "publish_model", "save_checkpoint"]

TENSORS, NUMBERS = "training.safetensors", "state.json"


def save_checkpoint(root: Path, trainer: Trainer, tokenizer: Tokenizer) -> Path:
    """Write `root/step-...`: the model as a Hugging Face folder in exact weights, and the training state.

    Raises:
        StorageError: the disk is full or fails; older checkpoints are untouched.
    """
    model = trainer.model
    assert isinstance(model, Transformer)
    tensors, numbers = trainer.state()

    def write(folder: Path) -> None:
        with trainer.weights.exact_model():
            model.save_pretrained(folder, tokenizer=tokenizer)
        save_file({name: value.cpu() for name, value in tensors.items()}, folder / TENSORS)
        (folder / NUMBERS).write_text(json.dumps(numbers), encoding="utf-8")

    folder = root / f"step-{trainer.step:08d}"
    publish(folder, write, {"step": trainer.step})
    retain(root, trainer.training.keep_checkpoints)
    return folder


def load_checkpoint(root: Path, trainer: Trainer) -> None:
    """Bring a trainer to the state of the newest whole checkpoint; leave it as it is where there is none yet.

    Raises:
        ModelFileError: all checkpoints are damaged.
    """
    folder = newest(root) if root.is_dir() else None
    if folder is None:
        return
    saved = dict(Transformer.from_pretrained(folder, dtype=_exact(trainer)).named_parameters()) | read_extra(folder)
    with torch.no_grad():
        for name, value in trainer.weights.exact.items():
            value.copy_(saved[name])
    trainer.weights.refresh()
    try:
        numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        trainer.load_state(load_file(folder / TENSORS), numbers)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelFileError("checkpoint.bad_file", path=folder, problem=str(error)[:200]) from None


def _exact(trainer: Trainer) -> torch.dtype:
    return next(iter(trainer.weights.exact.values())).dtype


def publish_model(
    model: Transformer, tokenizer: Tokenizer, out: Path, *, also: Callable[[Path], None] = lambda _: None
) -> None:
    """Put the finished model at the top of its run, file by file, the configuration last: it says that all is there.

    Args:
        model: what to save.
        tokenizer: saved beside it.
        out: the run's folder.
        also: writes further files into the same folder before anything is moved.
    """
    working = out / ".model.tmp"

    def write(folder: Path) -> None:
        model.save_pretrained(folder, tokenizer=tokenizer)
        also(folder)

    publish(working, write, {"model": "final"})
    files = sorted(working.iterdir(), key=lambda path: path.name == "config.json")
    for path in files:
        os.replace(path, out / path.name)
    working.rmdir()
