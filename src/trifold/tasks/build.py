"""From a configuration to a task, and from a folder to a fine-tuned model with its task."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trifold.adapter_base import find_base, is_adapter
from trifold.checkpoint.hugging_face import WANTED, find_folder, read_config
from trifold.config import Config, from_json, to_json
from trifold.data.columnar import class_names
from trifold.data.rows import Row
from trifold.errors import DataError, ModelFileError
from trifold.locale import message
from trifold.model import config as model_config
from trifold.presets.adapted import read_adapted_config
from trifold.presets.pretrained import Transformer, resolve
from trifold.presets.task_class import Outputs, find_class
from trifold.tasks import config
from trifold.tasks.classification import ClassificationTask, find_labels, labels_in, notes_on
from trifold.tasks.config import TaskConfig
from trifold.tasks.embedding import EmbeddingTask, find_scores
from trifold.tasks.equip import equip
from trifold.tasks.generation import GenerationTask, without_questions
from trifold.tasks.record import Columns, Placed, Role
from trifold.tasks.regression import RegressionTask, find_scale
from trifold.tasks.sentence import tags_in
from trifold.tasks.sentence_folder import is_sentence_folder, read_sentence_files, write_sentence_files
from trifold.tasks.span_qa import SpanQATask
from trifold.tasks.tagging import TaggingTask, find_tags
from trifold.tasks.task import Task
from trifold.tasks.translation import TranslationTask, translation_as
from trifold.text import Tokenizer

__all__ = [
    "agree",
    "build_task",
    "complete",
    "is_fine_tuned",
    "is_translator",
    "labels_in_rows",
    "named_by_files",
    "notes_on_labels",
    "open_task",
    "put_on",
    "remarks",
    "roles_of",
    "save_modules",
    "save_task",
    "started_from",
]

FILE = "task.json"
OUTPUTS = ("kind", "labels", "pairs", "match", "multi_label", "ngrams")
"""What a head's outputs and parts depend on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved(Config):
    """What `task.json` holds."""

    task: TaskConfig


def roles_of(kind: str) -> tuple[Role, ...]:
    """The columns that a kind of task reads.

    Example:
        >>> [role.name for role in roles_of("translation")]
        ['source', 'target']
    """
    return _class_of(kind).roles


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
    if isinstance(wanted, config.Classification):
        return ClassificationTask(wanted, tokenizer, model, weights=class_weights)
    return _class_of(wanted.kind)(wanted, tokenizer, model)


def _class_of(kind: str) -> Any:
    classes = {
        "classification": ClassificationTask,
        "regression": RegressionTask,
        "tagging": TaggingTask,
        "span_qa": SpanQATask,
        "translation": TranslationTask,
        "generation": GenerationTask,
        "embedding": EmbeddingTask,
    }
    return classes[kind]


def named_by_files(wanted: TaskConfig, columns: Mapping[str, Columns]) -> TaskConfig:
    """The configuration with the names of integer labels that files give themselves, unless the user did.

    Example:
        >>> named_by_files(config.Tagging(), {"a.jsonl": {"tags": "ner_tags"}}).label_names
        ()
    """
    if not isinstance(wanted, config.Classification | config.Tagging) or wanted.label_names or wanted.labels:
        return wanted
    role = "tags" if isinstance(wanted, config.Tagging) else "label"
    found = (class_names(file).get(of.get(role, ""), ()) for file, of in columns.items())
    return replace(wanted, label_names=next(filter(None, found), ()))


def complete(wanted: TaskConfig, rows: Sequence[Placed]) -> tuple[TaskConfig, list[float] | None]:
    """The configuration with the labels that the training rows have, and class weights where they are asked for.

    Raises:
        DataError: there is no row, or there is only one label.
    """
    if not rows:
        raise DataError("task.no_rows")
    match wanted:
        case config.Classification():
            return find_labels(wanted, rows)
        case config.Regression():
            return find_scale(wanted, rows), None
        case config.Embedding():
            return find_scores(wanted, rows), None
        case config.Tagging():
            return find_tags(wanted, rows), None
        case config.Generation():
            return without_questions(wanted, [columns for _, columns in rows]), None
        case _:
            return wanted, None


def labels_in_rows(wanted: TaskConfig, rows: Sequence[Placed]) -> list[tuple[str, ...] | None]:
    """The labels that occur in each row, so that all are trained on; None where a row lacks its label, or it is damaged.

    Example:
        >>> labels_in_rows(config.Classification(), [(Row({"label": " yes"}, ""), {"label": "label"})])
        [('yes',)]
    """
    match wanted:
        case config.Classification():
            return labels_in(wanted, rows)
        case config.Tagging():
            return [_tags_in(row, columns) for row, columns in rows]
        case _:
            return [()] * len(rows)


def _tags_in(row: Row, columns: Columns) -> tuple[str, ...] | None:
    try:
        return tags_in(row, columns["tags"])
    except DataError:
        return None


def notes_on_labels(wanted: TaskConfig, filled: TaskConfig) -> list[str]:
    """What was taken from the training data that a person should know.

    Example:
        >>> notes_on_labels(config.SpanQA(), config.SpanQA())
        []
    """
    if isinstance(wanted, config.Classification) and isinstance(filled, config.Classification):
        return notes_on(wanted, filled)
    return []


def save_task(task: Task, folder: Path) -> None:
    """Write `task.json`: labels, templates, lengths, all that inference needs to render text as training did."""
    text = json.dumps({"task": to_json(task.config)}, indent=1, ensure_ascii=False)  # type: ignore[arg-type]
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def save_modules(task: Task, folder: Path, width: int) -> None:
    """Make the folder of an embedder one of sentence-transformers."""
    if isinstance(task, EmbeddingTask):
        write_sentence_files(folder, task.config, width=width, longest=task.frame.limit)


def remarks(task: Task, settings: Sequence[str]) -> list[str]:
    """What to say about a task before it is trained: what others cannot open, how tags are counted."""
    portable = [message("task.note_not_portable", settings=", ".join(settings))] if settings else []
    return portable + (task.remarks() if isinstance(task, TaggingTask | SpanQATask | TranslationTask) else [])


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
    wanted = _task_of(model, tokenizer, folder) if saved is None else _units_of(saved, model, tokenizer, folder)
    task = build_task(wanted, tokenizer, model.config)
    equip(model, task)
    _load_heads(model, folder, task)
    return model.eval(), tokenizer, task


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


def _units_of(saved: TaskConfig, model: Transformer, tokenizer: Tokenizer, path: str | Path) -> TaskConfig:
    """The same task; a tagger from before units were kept takes those that it was trained with."""
    if not isinstance(saved, config.Tagging) or saved.units != "auto":
        return saved
    if model.decoder is not None or tokenizer.kind != "wordpiece":
        raise ModelFileError("task.older_tagger", path=path)
    return replace(saved, units="spaces")


def _task_of(model: Transformer, tokenizer: Tokenizer, folder: Path) -> TaskConfig:
    """What the head of a folder of one of Hugging Face's classes does; without a head it embeds or translates."""
    outputs = model.outputs
    longest, told = int(getattr(model.dials, "max_length", 512)), tokenizer.settings.get("model_max_length")
    longest = min(longest, int(told)) if isinstance(told, int | float) and told >= 1 else longest
    if is_sentence_folder(folder):
        return read_sentence_files(folder, config.Embedding(max_length=longest))
    if outputs is None:
        return translation_as(model.generation, model.context)
    match outputs.kind:
        case "tagging":
            return config.Tagging(labels=outputs.labels, max_length=longest)
        case "span_qa":
            return config.SpanQA()
        case _ if outputs.problem == "regression":
            return config.Regression(mean=0.0, deviation=1.0, pairs=True, max_length=longest)
        case _:
            several = outputs.problem == "multi_label_classification"
            return config.Classification(labels=outputs.labels, pairs=True, multi_label=several, max_length=longest)


def _saved_task(folder: Path) -> TaskConfig | None:
    """The task in a folder's `task.json`; None where it has none."""
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError("checkpoint.bad_file", path=folder / FILE, problem=str(error)[:200]) from None
    return from_json(Saved, _as_meant(data), where=str(folder / FILE)).task


def _as_meant(data: Any) -> Any:
    """The content of a `task.json`; an older one says nothing of marks of pairs and chat templates."""
    task = data.get("task") if isinstance(data, dict) else None
    if not isinstance(task, dict) or "match" in task:
        return data
    if task.get("kind") == "generation" and "chat_template" not in task:
        return {**data, "task": {**task, "chat_template": "none"}}
    marked = task.get("kind") == "span_qa" or (task.get("kind") == "classification" and task.get("pairs") is True)
    return {**data, "task": {**task, "match": True}} if marked else data


def agree(wanted: TaskConfig, model: Transformer) -> TaskConfig:
    """A task with the labels in the order that a tuned model has them in, where they are the same.

    A model whose labels have no names but `LABEL_0`, `LABEL_1` takes those of data that has numbers.
    """
    outputs = model.outputs
    if isinstance(wanted, config.Regression):
        return _in_units_of(wanted, model)
    if outputs is None or not isinstance(wanted, config.Classification | config.Tagging):
        return wanted
    count = len(outputs.labels)
    unnamed = outputs.labels == tuple(f"LABEL_{number}" for number in range(count))
    if unnamed and set(wanted.labels) == {str(number) for number in range(count)}:
        model.outputs = replace(outputs, labels=tuple(map(str, range(count))))
    same = model.outputs is not None and set(model.outputs.labels) == set(wanted.labels)
    return replace(wanted, labels=model.outputs.labels) if same and model.outputs else wanted


def _in_units_of(wanted: config.Regression, model: Transformer) -> config.Regression:
    """Scores as a head can say them: as they are where it said so before, about 0 where it has no bias."""
    if model.outputs is not None and model.outputs.problem == "regression":
        return replace(wanted, mean=0.0, deviation=1.0)
    kind = None if model.classes is None else model.classes.tasks.get("classification")
    if kind is None or kind.build({}, 1).output_bias:
        return wanted
    mean, deviation = wanted.mean or 0.0, wanted.deviation or 1.0
    return replace(wanted, mean=0.0, deviation=(mean**2 + deviation**2) ** 0.5)


def started_from(wanted: TaskConfig, start: str | None) -> TaskConfig:
    """The configuration with what the folder that a run starts from says of it: how an embedder pools, and its prompts.

    How long a text may be stays as the configuration says.

    Raises:
        ModelFileError: the folder asks for what is not computed here.

    Example:
        >>> started_from(config.Embedding(), None).pooling
        'auto'
    """
    if start is None or not isinstance(wanted, config.Embedding):
        return wanted
    folder = resolve(find_folder(start))
    found = read_sentence_files(folder, wanted) if is_sentence_folder(folder) else wanted
    return replace(found, max_length=wanted.max_length)


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
    kept = equip(model, task)
    folder = None if start is None else resolve(find_folder(start))
    before = None if folder is None else _saved_task(folder)
    if before is None or folder is None or task.head is None:
        return () if kept else None if had is None else _differing(had, task)
    now = task.config
    differing = tuple(name for name in OUTPUTS if getattr(before, name, None) != getattr(now, name, None))
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
