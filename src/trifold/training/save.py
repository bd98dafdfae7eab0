"""Checkpoints of a run, and its final model.

A checkpoint is a Hugging Face folder with the exact weights, and beside it the training state: `training.safetensors`
(moments of the optimizers, summed gradients of a step that is not done) and `state.json` (counters and the place in the
data). All other state follows from these: every random number is a function of the seed and the place in the run.

Where each of several processes holds a share of the moments, it writes its rows to `training-00001-of-00004.safetensors`;
whoever reads them, alone or one of any number, puts the rows together tensor by tensor.
"""

import functools
import json
import os
import platform
import secrets
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trifold.checkpoint import (
    checkpoints,
    folder_size,
    name_of,
    newest,
    publish,
    read_manifest,
    recover,
    require_room,
    retain,
    verify,
)
from trifold.checkpoint.hugging_face import read_extra
from trifold.checkpoint.store import storage_error
from trifold.errors import ConfigError, ModelFileError
from trifold.locale import message
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer
from trifold.training.config import Muon
from trifold.training.optimizer import split_parameters
from trifold.training.precision import Weights
from trifold.training.trainer import Trainer
from trifold.version import __version__

__all__ = ["Saver", "environment", "load_checkpoint", "publish_model", "versions"]

TENSORS, NUMBERS, SHARES = "training.safetensors", "state.json", ".{}.shares.tmp"
FREE = ("environment", "data")
"""Facts in a manifest that must be the same when the run goes on, or be allowed to change by name."""


def versions() -> dict[str, str]:
    """Of what computes."""
    return {"trifold": __version__, "torch": torch.__version__, "python": platform.python_version()}


def environment(trainer: Trainer) -> dict[str, object]:
    """What the bits of a run depend on beside its experiment."""
    facts: dict[str, object] = {
        "torch": torch.__version__.partition("+")[0],
        "threads": torch.get_num_threads(),
        "dtype": str(trainer.dtype).removeprefix("torch."),
        "device": trainer.device.type,
    }
    if trainer.group.size > 1 and not trainer.training.deterministic:
        facts["processes"] = trainer.group.size
    return facts


class Saver:
    """Writes the checkpoints of one run, in the background where it may.

    Args:
        root: the folder that holds them.
        trainer: whose state is saved.
        tokenizer: saved with each.
        data: hashes of what is trained on, by name.
        before: manifest of the checkpoint that the run went on from; None for a new run.
        allowed: names of facts that may have changed since.

    Raises:
        StorageError: the disk has no room for the checkpoints that will stand there at once.
    """

    def __init__(
        self,
        root: Path,
        trainer: Trainer,
        tokenizer: Tokenizer,
        *,
        data: Mapping[str, object] | None = None,
        before: Mapping[str, Any] | None = None,
        allowed: tuple[str, ...] = (),
    ) -> None:
        self.root, self.trainer, self.tokenizer = root, trainer, tokenizer
        known = before or {}
        self.facts: dict[str, Any] = {
            "version": __version__,
            "run": known.get("run") or secrets.token_hex(8),
            "environment": environment(trainer),
            "data": dict(data or {}),
            "processes": trainer.group.size,
            "allowed": sorted({*known.get("allowed", ()), *allowed}),
        }
        self.parent = None if before is None else name_of(before["step"], before["passes"])
        self.saved = (trainer.step, 0) if before is None else (before["step"], before["passes"])
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._require_room()

    @property
    def size(self) -> int:
        """Bytes of one checkpoint, nearly."""
        exact = self.trainer.weights.exact
        matrices = split_parameters(exact)[0] if isinstance(self.trainer.training.optimizer, Muon) else []
        single = set(matrices)  # Muon keeps one number for each weight, AdamW two
        return sum(value.nbytes * (2 if name in single else 3) for name, value in exact.items())

    def _require_room(self) -> None:
        """Refuse a run whose checkpoints the disk cannot hold: those it keeps, one more while it is written, the model."""
        there = sum(map(folder_size, checkpoints(self.root))) if self.root.is_dir() else 0
        model = sum(value.nbytes for value in self.trainer.weights.exact.values())
        needed = self.size * (self.trainer.training.keep_checkpoints + 1) + model - there
        require_room(self.root, needed, "checkpoint.no_room")

    @property
    def place(self) -> tuple[int, int]:
        """Step and pass that the trainer has reached."""
        partial = self.trainer.partial
        return self.trainer.step, 0 if partial is None else partial.passes

    def save(self, valid_loss: float | None = None) -> None:
        """Write the state as it is now; with `save_in_background` the trainer may go on at once.

        Raises:
            StorageError: the disk is full or fails, at this checkpoint or at the one before; older ones are untouched.
        """
        self.finish()
        weights = self.trainer.weights
        if weights.size > 1:
            self._save_shares(valid_loss)
        elif self.trainer.group.is_first:
            self._save_whole(valid_loss)
        self.saved = self.place

    def _save_whole(self, valid_loss: float | None) -> None:
        weights, (tensors, numbers) = self.trainer.weights, self.trainer.state()
        if self.trainer.training.save_in_background:
            tensors = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
            self._start(weights.exact_copy(), numbers, lambda inside: _write_moments(inside, tensors), valid_loss)
        else:
            with weights.exact_model() as model:
                self._start(model, numbers, lambda inside: _write_moments(inside, tensors), valid_loss)
                self.finish()

    def _save_shares(self, valid_loss: float | None) -> None:
        """Every process writes what it holds; the first one collects the weights, and all of this in one folder."""
        weights, (tensors, numbers) = self.trainer.weights, self.trainer.state()
        place = self.root / SHARES.format(name_of(*self.place))
        try:
            place.mkdir(parents=True, exist_ok=True)
            _write_moments(place, tensors, share=(weights.rank, weights.size))
        except (OSError, SafetensorError) as error:
            raise storage_error(error, place) from None
        with self.trainer.group.meeting("training.doing_saving"):
            model = weights.exact_copy()
        if self.trainer.group.is_first:  # the others have written, or they would not have met
            self._start(model, numbers, lambda inside: _take_shares(place, inside, weights.size), valid_loss)
            if not self.trainer.training.save_in_background:
                self.finish()

    def _start(
        self, model: nn.Module, numbers: Mapping[str, object], fill: Callable[[Path], None], valid_loss: float | None
    ) -> None:
        """Begin to write a checkpoint of the state that the trainer has now; `fill` puts the moments into its folder."""
        meta = {
            **self.facts,
            "step": self.place[0],
            "passes": self.place[1],
            "parent": self.parent,
            "valid_loss": valid_loss,
        }
        folder = self.root / name_of(*self.place)
        self.parent = folder.name

        def write(inside: Path) -> None:
            assert isinstance(model, Transformer)
            model.save_pretrained(inside, tokenizer=self.tokenizer)
            fill(inside)
            (inside / NUMBERS).write_text(json.dumps(numbers), encoding="utf-8")

        self._thread = threading.Thread(target=lambda: self._guarded(folder, write, meta), name="save")
        self._thread.start()

    def _guarded(self, folder: Path, write: Callable[[Path], None], meta: Mapping[str, Any]) -> None:
        """Write one checkpoint and clear away old ones; a failure is kept for whoever asks next."""
        training = self.trainer.training
        try:
            publish(folder, write, meta, needed=self.size)
            retain(self.root, training.keep_checkpoints, every=training.keep_every)
        except OSError as error:
            self._failure = storage_error(error, folder)
        except Exception as error:  # noqa: BLE001 - in a thread of its own, any other would pass unheard
            self._failure = error

    def roll_back(self) -> bool:
        """Bring the trainer to the newest checkpoint, and on to the batches after those it has seen.

        Returns:
            Whether there is a checkpoint to go back to.
        """
        self.finish()
        ahead = self.trainer.batches.state_dict()
        facts = {"data": self.facts["data"], "allowed": tuple(self.facts["allowed"])}
        manifest = load_checkpoint(self.root, self.trainer, **facts)
        if manifest is None:
            return False
        self.saved = manifest["step"], manifest["passes"]
        self.trainer.go_to(ahead)
        return True

    def write_weights(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the exact weights as they are now as a model folder of their own; all processes call it.

        Raises:
            StorageError: the disk is full or fails; what stood there is untouched.
        """
        group = self.trainer.group
        with group.meeting("training.doing_saving"):
            model = self.trainer.weights.whole_model()
        if group.is_first:
            assert isinstance(model, Transformer)
            publish(folder, functools.partial(model.save_pretrained, tokenizer=self.tokenizer), {**self.facts, **facts})

    def read_weights(self, folder: Path) -> None:
        """Put the weights of a folder that `write_weights` wrote in the place of the trainer's.

        Raises:
            ModelFileError: it is damaged.
        """
        verify(folder)
        _read_weights(folder, self.trainer.weights)

    def check(self) -> None:
        """Tell of a save that failed in the background.

        Raises:
            StorageError: it did, unless `training.on_full_disk` says to go on without.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        failure, self._failure = self._failure, None
        if failure is None:
            return
        self.saved = (-1, 0)  # whatever is reached is worth another try
        if self.trainer.training.on_full_disk == "go_on" and getattr(failure, "code", "") == "checkpoint.disk_full":
            warnings.warn(message("checkpoint.goes_on", problem=str(failure)), stacklevel=2)
            return
        raise failure

    def finish(self) -> None:
        """Wait until what is being written is there.

        Raises:
            StorageError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
        self.check()


def load_checkpoint(
    root: Path,
    trainer: Trainer,
    *,
    strict: bool = False,
    data: Mapping[str, object] | None = None,
    allowed: tuple[str, ...] = (),
) -> dict[str, Any] | None:
    """Bring a trainer to the state of the newest whole checkpoint; leave it as it is where there is none yet.

    Args:
        root: the folder that holds the checkpoints.
        trainer: brought to the state.
        strict: refuse a damaged checkpoint instead of falling back to the one before.
        data: hashes of what is trained on, as they are now.
        allowed: names of facts that may have changed (`threads`, `torch`, ...).

    Returns:
        The manifest.

    Raises:
        ModelFileError: all checkpoints are damaged, or the newest is and `strict`.
        ConfigError: it was written under other circumstances, so going on would not be the same run.
    """
    if not root.is_dir():
        return None
    recover(root)
    folder = newest(root, strict=strict)
    if folder is None:
        return None
    manifest = read_manifest(folder)  # its files were compared with it just now
    _require_same(folder, manifest, {"environment": environment(trainer), "data": dict(data or {})}, allowed)
    _read_weights(folder, trainer.weights)
    try:
        numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        trainer.load_state(_read_moments(folder, trainer.weights), numbers)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelFileError("checkpoint.bad_file", path=folder, problem=str(error)[:200]) from None
    return manifest


def _share_name(rank: int, size: int) -> str:
    return TENSORS if size == 1 else f"training-{rank + 1:05d}-of-{size:05d}.safetensors"


def _write_moments(folder: Path, tensors: Mapping[str, Tensor], share: tuple[int, int] = (0, 1)) -> None:
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(kept, folder / _share_name(*share))


def _take_shares(place: Path, inside: Path, size: int) -> None:
    for rank in range(size):
        (place / _share_name(rank, size)).rename(inside / _share_name(rank, size))
    place.rmdir()


def _read_moments(folder: Path, weights: Weights) -> dict[str, Tensor]:
    """This process's part of what one process or many have saved; no more than one tensor is held whole at a time."""
    paths = sorted(folder.glob("training*.safetensors")) or [folder / TENSORS]
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, framework="pt")) for path in paths]
        names = files[0].keys()
        return {name: weights.part(_joined([file.get_tensor(name) for file in files])) for name in names}


def _joined(shares: Sequence[Tensor]) -> Tensor:
    """Rows put together; a counter is the same in all shares."""
    return torch.cat(list(shares)) if len(shares) > 1 and shares[0].ndim else shares[0]


def _require_same(
    folder: Path, before: Mapping[str, Any], now: Mapping[str, Mapping[str, object]], allowed: tuple[str, ...]
) -> None:
    pairs = [
        (name, before.get(part, {}).get(name), now[part].get(name))
        for part in FREE
        for name in sorted({*before.get(part, {}), *now[part]})
    ]
    changed = [(name, old, new) for name, old, new in pairs if old != new and name not in allowed]
    if changed:
        changes = "; ".join(f"{name}: {old} -> {new}" for name, old, new in changed)
        options = " ".join(name for name, _, _ in changed)
        raise ConfigError("training.other_circumstances", path=folder, changes=changes, options=options)


def _read_weights(folder: Path, weights: Weights) -> None:
    """Put the weights of a model folder in the place of the exact ones."""
    exact = next(iter(weights.exact.values())).dtype
    saved = dict(Transformer.from_pretrained(folder, dtype=exact).named_parameters()) | read_extra(folder)
    try:
        with torch.no_grad():
            for name, value in weights.exact.items():
                value.copy_(weights.part(saved[name]))
    except (KeyError, RuntimeError) as error:
        raise ModelFileError("checkpoint.bad_file", path=folder, problem=str(error)[:200]) from None
    weights.refresh()


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

    publish(working, write, {"model": "final", "version": __version__})
    files = sorted(working.iterdir(), key=lambda path: path.name == "config.json")
    for path in files:
        os.replace(path, out / path.name)
    working.rmdir()
