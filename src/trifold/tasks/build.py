"""From a configuration to a task, and from a folder to a fine-tuned model with its task."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trifold.adapter_base import find_base, is_adapter
from trifold.checkpoint.hugging_face import WANTED, find_folder, read_config
from trifold.config import Config, from_json, to_json
from trifold.errors import DataError, ModelFileError
from trifold.locale import message
from trifold.model import config as model_config
from trifold.presets.adapted import read_adapted_config
from trifold.presets.classes import find_class
from trifold.presets.pretrained import Transformer, resolve
from trifold.presets.task_class import Outputs
from trifold.task_kinds import config_classes
from trifold.tasks.any_task import AnyTask
from trifold.tasks.equip import equip
from trifold.tasks.record import Placed
from trifold.tasks.saved import FILE, read_task, task_as_meant
from trifold.tasks.sentence_folder import is_sentence_folder
from trifold.tasks.task import Folder, Task, TaskConfig
from trifold.text import Tokenizer

__all__ = [
    "build_task",
    "complete",
    "is_fine_tuned",
    "is_translator",
    "open_task",
    "put_on",
    "remarks",
    "save_task",
]

OUTPUTS = ("kind", "labels", "pairs", "match", "multi_label", "ngrams", "ngram_rows")
"""What a head's outputs and parts depend on."""
ONCE_APART = ("multiple_choice",)
"""Tasks whose heads stand apart from the model in runs of earlier versions, which knew no class for them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved(Config):
    """What `task.json` holds."""

    task: AnyTask


def build_task(
    wanted: TaskConfig,
    tokenizer: Tokenizer,
    model: model_config.Transformer,
    *,
    class_weights: Sequence[float] | None = None,
) -> Task:
    """The task that a configuration asks for.

    Raises:
        ConfigError: the configuration lacks labels, or the model what the task needs.
    """
    return wanted.build(tokenizer, model, class_weights=class_weights)


def complete(wanted: TaskConfig, rows: Sequence[Placed]) -> tuple[TaskConfig, list[float] | None]:
    """The configuration with the labels that the training rows have, and class weights where they are asked for.

    Raises:
        DataError: there is no row, or there is only one label.
    """
    if not rows:
        raise DataError("task.no_rows")
    return wanted.complete(rows)


def save_task(task: Task, folder: Path) -> None:
    """Write `task.json`: labels, templates, lengths, all that inference needs to render text as training did."""
    text = json.dumps({"task": to_json(task.config)}, indent=1, ensure_ascii=False)  # type: ignore[arg-type]
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def remarks(task: Task, settings: Sequence[str]) -> list[str]:
    """What to say about a task before it is trained: what others cannot open, how tags are counted."""
    portable = [message("task.note_not_portable", settings=", ".join(settings))] if settings else []
    return portable + task.remarks()


def is_fine_tuned(path: str | Path) -> bool:
    """Whether a folder holds a fine-tuned model, of Trifold's or of anybody's."""
    folder = Path(path)
    if (folder / FILE).is_file() or is_sentence_folder(folder):
        return True
    if is_adapter(folder):
        return find_class(read_adapted_config(folder, resolve(find_base(folder, WANTED)))) is not None
    return (folder / "config.json").is_file() and find_class(read_config(folder)) is not None


def open_task(folder: Path) -> tuple[Transformer, Tokenizer, Task]:
    """A fine-tuned model, its tokenizer and its task, from a run or a folder of one of Hugging Face's classes for tasks.

    Raises:
        ModelFileError: a file is missing or damaged.
    """
    model, tokenizer = Transformer.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    saved = _saved_task(folder)
    wanted = _task_of(model, tokenizer, folder) if saved is None else saved.opened(model, tokenizer, folder)
    task = build_task(wanted, tokenizer, model.config)
    equip(model, task, apart=_stands_apart(model, saved))
    _load_heads(model, folder, task)
    return model.eval(), tokenizer, task


def _stands_apart(model: Transformer, saved: TaskConfig | None) -> bool:
    """Whether a run, as it was opened, holds a head of a task that is saved in a class only now."""
    return saved is not None and saved.kind in ONCE_APART and model.task_class is None


def _load_heads(model: Transformer, folder: Path, task: Task, *, adapters: bool = True) -> None:
    """Fill what a task has put on a model.

    Raises:
        ModelFileError: the folder has something else, as those have that an earlier version wrote.
    """
    try:
        model.load_extra(folder, adapters=adapters)
    except ModelFileError as error:
        if error.code != "checkpoint.keys":
            raise
        raise ModelFileError("task.older_run", path=folder, kind=task.config.kind) from error


def is_translator(folder: Path) -> bool:
    """Whether it is a folder of Marian's, whose models are for nothing else; not a run in pre-training."""
    there = (folder / "config.json").is_file() and not (folder / "trifold.json").is_file()
    return there and read_config(folder).get("model_type") == "marian"


def _task_of(model: Transformer, tokenizer: Tokenizer, path: Path) -> TaskConfig:
    """What a folder that was not tuned here is for, as the first kind of task says that it knows it."""
    longest, told = int(getattr(model.options, "max_length", 512)), tokenizer.settings.get("model_max_length")
    longest = min(longest, int(told)) if isinstance(told, int | float) and told >= 1 else longest
    folder = Folder(path, model, longest, is_sentence_folder(path))
    return next(found for one in config_classes() if (found := one.found_in(folder)) is not None)


def _saved_task(folder: Path) -> TaskConfig | None:
    """The task in a folder's `task.json`; None where it has none."""
    data = read_task(folder)
    if data is None:
        return None
    return from_json(Saved, task_as_meant(data), where=str(folder / FILE)).task


def put_on(model: Transformer, task: Task, start: str | None) -> tuple[str, ...] | None:
    """Equip a model for a task, and go on with the head that it was tuned with, if that was for the same outputs.

    Args:
        model: to be tuned.
        task: what for.
        start: where the model came from; None for random weights.

    Returns:
        What differs, where a tuned head had to be left behind; nothing where it was kept; None where there was none.

    Raises:
        ModelFileError: the head's file is damaged, or holds another head.
    """
    had = model.outputs
    folder = None if start is None else resolve(find_folder(start))
    before = None if folder is None else _saved_task(folder)
    apart = _stands_apart(model, before)
    kept = equip(model, task)
    if before is None or folder is None or task.head is None:
        return () if kept else None if had is None else _differing(had, task)
    now = task.config
    differing = tuple(name for name in OUTPUTS if getattr(before, name, None) != getattr(now, name, None))
    if apart and model.task_class is not None:
        differing = (*differing, "class")
    if kept or differing:
        return () if kept else differing
    _load_heads(model, folder, task, adapters=False)  # those of a run are merged; new ones begin
    return () if "task" in model.heads else None


def _differing(had: Outputs, task: Task) -> tuple[str, ...]:
    wanted = task.head
    if wanted is None:
        return ("kind",)
    pairs = {
        "kind": (had.kind, wanted.kind),
        "labels": (had.labels, wanted.labels),
        "problem": (had.problem, wanted.problem),
    }
    return tuple(name for name, (one, other) in pairs.items() if one != other) or ("pooling",)
