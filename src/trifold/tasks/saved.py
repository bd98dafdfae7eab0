"""What a run's `task.json` holds: labels, templates, lengths, all that inference needs to render text as training did."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trifold.errors import ModelFileError
from trifold.task_kinds import KINDS, config_class

__all__ = ["FILE", "read_task", "task_as_meant", "task_in"]

FILE = "task.json"


def read_task(folder: Path) -> Any:
    """The content of a folder's `task.json`, as it stands; None where it has none.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        return json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError("checkpoint.bad_file", path=folder / FILE, problem=str(error)[:200]) from None


def task_in(content: Any) -> Mapping[str, Any]:
    """The settings of the task, before anybody has checked them; nothing where there are none.

    Example:
        >>> task_in({"task": {"kind": "tagging"}}), task_in([])
        ({'kind': 'tagging'}, {})
    """
    task = content.get("task") if isinstance(content, dict) else None
    return task if isinstance(task, dict) else {}


def task_as_meant(content: Any) -> Any:
    """What is kept of a run with a task in it; an older one does not say all that its kind of task has come to keep."""
    task = task_in(content)
    kind = task.get("kind")
    if not (isinstance(kind, str) and kind in KINDS):
        return content
    return {**content, "task": config_class(kind).as_meant(task)}
