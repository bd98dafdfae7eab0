"""Labelled examples that a program gives in place of files."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trifold.config import Config, require, to_json, unknown_key
from trifold.data.rows import Row
from trifold.errors import DataError
from trifold.task_kinds import ALIASES, KINDS, config_class
from trifold.tasks.experiment import FineTuning, LabelledData
from trifold.tasks.fit import count_pairs, fit_tuning
from trifold.tasks.record import Record
from trifold.tasks.task import TaskConfig
from trifold.training.prepare import choose_start
from trifold.training.run import given_path

__all__ = ["Given", "choose_experiment", "rows_of"]

Given = Iterable[Mapping[str, Any] | Record | tuple[Any, ...] | list[Any]]


def rows_of(examples: Given, kind: str) -> Iterator[dict[str, Any]]:
    """Each example as a row with named columns.

    Args:
        examples: rows as mappings, records, or the texts and the answer in the order of the task's roles.
        kind: of the task.

    Raises:
        DataError: an example is something else, or has more or fewer parts than the task has roles.

    Example:
        >>> list(rows_of([("a good film", "positive"), {"text": "dull", "label": "negative"}], "classification"))
        [{'text': 'a good film', 'label': 'positive'}, {'text': 'dull', 'label': 'negative'}]
    """
    task = config_class(kind)
    listed = isinstance(examples, Iterable) and not isinstance(examples, Mapping)
    require(listed, where="examples", given=type(examples).__name__, allowed="a list of them, or another iterable")
    for number, example in enumerate(examples, 1):
        if isinstance(example, Mapping):
            yield dict(example)
            continue
        parts = (*example.inputs, example.gold) if isinstance(example, Record) else example
        row = task.row_of(parts) if isinstance(parts, tuple | list) else None
        if row is None:
            known = ", ".join(role.name for role in task.roles)
            raise DataError("task.given_example", number=number, given=type(example).__name__, known=known)
        yield row


def choose_experiment(
    chosen: FineTuning | str | Path,
    out: str | Path,
    splits: Mapping[str, Given],
    *,
    task: TaskConfig | str | None,
    changes: Mapping[str, Any],
) -> FineTuning:
    """The experiment that a program asks for, its files being those that the run keeps of what was given.

    Args:
        chosen: the experiment, or only what to start from: a family by name, a run, a folder or a hub name.
        out: the run's folder.
        splits: the examples of each split that was given, to be read more than once; an empty tuple where the run has
            kept them already.
        task: by itself or by its name, in place of the experiment's.
        changes: further parts in place of the experiment's.

    Raises:
        ConfigError: there is nothing to train on, or an unknown task.
    """
    if isinstance(chosen, FineTuning):
        model, data, begun = chosen.model, chosen.data, chosen
    else:
        model, data, begun = choose_start(str(chosen)), LabelledData(), None
    files = {name: str(given_path(out, name)) for name in splits}
    before = {name: getattr(data, name) for name in files}
    both = all(there in (None, (), files[name]) for name, there in before.items())
    require(both, where="train, dev, test", given=f"examples beside {before}", allowed="one of the two")
    data = replace(data, **files)
    require(bool(data.train), where="train", given="nothing", allowed="a file in data.train, or examples")
    if isinstance(task, str):
        task = _by_name(task)
    changes = {**changes, "data": data} | ({} if task is None else {"task": task})
    if begun is not None:
        return replace(begun, **changes)
    said = {name: to_json(part) if isinstance(part, Config) else part for name, part in changes.items()}
    kept = "train" not in splits or splits["train"] == ()
    kind = said.get("task", {}).get("kind", "classification")
    config, pairs = config_class(kind), None
    if config.from_scratch and model.start is None and not kept:
        pairs = count_pairs((Row(row, "train") for row in rows_of(splits["train"], kind)), config.roles, data.columns)
    return fit_tuning({"model": to_json(model), **said}, pairs, measure=False).experiment


def _by_name(name: str) -> TaskConfig:
    if name not in KINDS and name not in ALIASES:
        raise unknown_key("task", name, [*KINDS, *ALIASES])
    return config_class(ALIASES.get(name, name))()
