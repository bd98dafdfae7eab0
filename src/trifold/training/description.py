"""What a run says of itself, `trifold.json`: what was asked, what was changed since, and what came out."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from trifold.config import Config, from_json, to_json, unknown_key
from trifold.errors import ConfigError, ModelFileError
from trifold.hub import nearest_folder
from trifold.locale.option import name_option
from trifold.training.experiment import Experiment

__all__ = ["DESCRIPTION", "describe", "go_on_with", "read_description", "read_experiment", "write_json"]

DESCRIPTION = "trifold.json"
FREE = frozenset(
    {
        "epochs",
        "patience",
        "model.start",
        *(f"data.{name}" for name in ("paths", "valid", "train", "dev", "test")),
        *(
            f"training.{name}"
            for name in (
                "steps",
                "tokens",
                "minutes",
                "evaluate_every",
                "log_every",
                "tensorboard",
                "checkpoint_every",
                "checkpoint_passes",
                "keep_checkpoints",
                "keep_every",
                "keep_best",
                "save_in_background",
                "on_full_disk",
                "on_bad_step",
                "spike",
                "timeout",
            )
        ),
    }
)
"""Fields of the experiment that may change when a run goes on; what lies elsewhere now is known by its hash."""
CIRCUMSTANCES = ("torch", "threads", "dtype", "device", "processes")
"""What may change beside the experiment, where it is allowed by name."""
STORE = re.compile(r"train(_\d+)?|valid|dev|test")
"""Names of what is trained and judged on."""
E = TypeVar("E", bound=Config)


def read_description(folder: str | Path) -> dict[str, Any]:
    """All that a run says of itself.

    Raises:
        ModelFileError: the folder holds no run.
    """
    if not Path(folder).is_dir():
        raise ModelFileError("checkpoint.no_folder", path=folder, nearest=nearest_folder(str(folder)))
    try:
        description = json.loads((Path(folder) / DESCRIPTION).read_text(encoding="utf-8"))
        description["experiment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError("training.no_run", path=folder, problem=str(error)[:200]) from None
    return {**description, "experiment": _as_named_now(description["experiment"])}


def _as_named_now(experiment: Any) -> Any:
    """An experiment as it is written today; earlier versions called the overrides of a model dials."""
    model = experiment.get("model") if isinstance(experiment, dict) else None
    if not isinstance(model, dict) or "dials" not in model:
        return experiment
    rest = {name: value for name, value in model.items() if name != "dials"}
    return {**experiment, "model": {**rest, "overrides": model["dials"]}}


def read_experiment(folder: str | Path, kind: type[E] = Experiment) -> E:
    """The experiment that a run was begun with.

    Args:
        folder: the run.
        kind: class of the experiment, for runs that are not pre-training.

    Raises:
        ModelFileError: the folder holds no run.
    """
    saved = kind.as_meant(read_description(folder)["experiment"])
    return from_json(kind, saved, where=str(Path(folder) / DESCRIPTION))


def describe(folder: Path, facts: Mapping[str, Any]) -> None:
    """Put facts into the description of a run, in place of those of the same names."""
    before = read_description(folder) if (folder / DESCRIPTION).exists() else {}
    write_json(folder / DESCRIPTION, {**before, **facts})


def go_on_with(folder: Path, experiment: Config, allow: Sequence[str]) -> None:
    """Make sure that a run goes on as it was begun, and write down what was allowed to change.

    Args:
        folder: the run.
        experiment: what is asked for now.
        allow: fields, or sections of fields, that may differ beside those that are always free.

    Raises:
        ModelFileError: the folder holds no run.
        ConfigError: something else differs, or a name in `allow` is of nothing that could; names it.
    """
    before = read_experiment(folder, type(experiment))
    known = {*CIRCUMSTANCES, *_names(to_json(experiment)), *_names(to_json(before))}
    for name in allow:
        if name not in known and not STORE.fullmatch(name):
            raise unknown_key(name_option("allow-change"), name, sorted(known))
    changed = _differences(to_json(before), to_json(experiment))
    refused = {name: change for name, change in changed.items() if not _is_allowed(name, allow)}
    if refused:
        changes = "; ".join(f"{name}: {change}" for name, change in refused.items())
        raise ConfigError("training.other_experiment", path=folder, changes=changes, options=" ".join(refused))
    if experiment != before:
        earlier = read_description(folder).get("changes", [])
        changes = {"changes": [*earlier, dict(changed)]} if changed else {}
        describe(folder, {"experiment": to_json(experiment), **changes})


def _names(data: Any, where: str = "") -> Iterator[str]:
    """The fields of an experiment, and the sections that they stand in."""
    for name, value in data.items() if isinstance(data, dict) else ():
        yield f"{where}{name}"
        yield from _names(value, f"{where}{name}.")


def _is_allowed(name: str, allow: Sequence[str]) -> bool:
    """Whether a field, or the section that it stands in, is among the allowed."""
    return any(name == allowed or name.startswith(f"{allowed}.") for allowed in allow)


def _differences(before: Any, after: Any, where: str = "") -> dict[str, str]:
    """Fields that differ; how long to train, how often to report and what to save may change."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        parts = [_differences(before.get(name), after.get(name), f"{where}.{name}".lstrip(".")) for name in names]
        return {name: change for part in parts for name, change in part.items()}
    return {} if before == after or where in FREE else {where: f"{before} -> {after}"}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    working = path.with_suffix(".tmp")
    with working.open("w", encoding="utf-8") as file:
        file.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    working.replace(path)
