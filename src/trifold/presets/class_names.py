"""What the weights of a body are called in each of a family's classes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trifold.checkpoint import Entry
from trifold.presets.task_class import FamilyClasses

__all__ = ["read_names", "write_names"]


def read_names(
    theirs: Mapping[str, Any], known: frozenset[str], family: FamilyClasses, prefix: str | None
) -> dict[str, Any]:
    """Weights whose body is named as in the family's class with a language-model head, whichever class wrote them.

    Args:
        theirs: weights by the name in the file.
        known: all names of that class.
        family: the family's classes.
        prefix: what the names of the body begin with in the class that the configuration names.
    """
    prefixes = dict.fromkeys([prefix or family.prefix, family.prefix, "", "transformer.", "model."])
    counts = {before: sum(_renamed(name, before, family.prefix) in known for name in theirs) for before in prefixes}
    chosen = max(counts, key=counts.__getitem__)  # the first of the best
    return {
        name if name in known else _kept(_renamed(name, chosen, family.prefix), name, known): value
        for name, value in theirs.items()
    }


def _renamed(name: str, before: str, after: str) -> str:
    return after + name.removeprefix(before) if name.startswith(before) else name


def _kept(renamed: str, name: str, known: frozenset[str]) -> str:
    return renamed if renamed in known else name


def write_names(entries: list[Entry], family: FamilyClasses, prefix: str) -> list[Entry]:
    """Entries whose body is named as in another class."""
    return [replace(entry, theirs=_renamed(entry.theirs, family.prefix, prefix), otherwise="") for entry in entries]
