"""The one list of tasks: a kind of task stands in `tasks/<kind>.py`, with its configuration and all that it does.

Nothing is imported before it is asked for, so that the command line knows the kinds without loading torch.
"""

import importlib
from collections.abc import Mapping
from typing import Any

__all__ = ["ALIASES", "KINDS", "classifying_kinds", "config_class", "config_classes"]

KINDS: Mapping[str, str] = {
    "classification": "Classification",
    "regression": "Regression",
    "tagging": "Tagging",
    "span_qa": "SpanQA",
    "translation": "Translation",
    "generation": "Generation",
    "embedding": "Embedding",
    "multiple_choice": "MultipleChoice",
}
"""The name of each kind's configuration class."""

ALIASES: Mapping[str, str] = {"sentiment": "classification", "similarity": "regression"}
"""Other names that the command line takes for a kind."""


def config_class(kind: str) -> Any:
    """The configuration class of a kind of task, from which all else follows.

    Example:
        >>> config_class("tagging").__name__
        'Tagging'
    """
    return getattr(importlib.import_module(f"trifold.tasks.{kind}"), KINDS[kind])


def config_classes() -> tuple[Any, ...]:
    """All of them, in the order of the list.

    Example:
        >>> [one.__name__ for one in config_classes()][:2]
        ['Classification', 'Regression']
    """
    return tuple(map(config_class, KINDS))


def classifying_kinds() -> tuple[str, ...]:
    """The kinds that `classify` is for.

    Example:
        >>> classifying_kinds()
        ('classification', 'regression', 'tagging', 'multiple_choice')
    """
    return tuple(kind for kind in KINDS if config_class(kind).classifies)
