"""Which of Hugging Face's classes for tasks a configuration names."""

from collections.abc import Mapping
from typing import Any

from trifold.presets import PRESETS
from trifold.presets.task_class import FamilyClasses, Kind, TaskClass

__all__ = ["classes_of", "find_class"]


def classes_of(model_type: object) -> FamilyClasses | None:
    """The classes of the family of that `model_type`; None for a family without, and for none.

    Example:
        >>> classes_of("gpt2").body
        'GPT2Model'
    """
    own = (preset.task_classes for preset in PRESETS.values() if preset.model_type == model_type)
    return next(own, None)


def find_class(data: Mapping[str, Any]) -> tuple[Kind, TaskClass] | None:
    """The class for a task that a configuration names; None for the body or the class with a language-model head."""
    named = data.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    family = classes_of(data.get("model_type"))
    pairs = family.tasks.items() if family else ()
    return next(((kind, task_class) for kind, task_class in pairs if task_class.architecture == first), None)
