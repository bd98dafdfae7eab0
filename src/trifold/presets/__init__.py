"""The families: a configuration function with sizes by name, and a key table, each."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from trifold.config import unknown_key
from trifold.families import FAMILIES
from trifold.locale import name_option
from trifold.model import config
from trifold.presets.preset import Preset

__all__ = ["PRESETS", "Preset", "build_config", "find_preset"]


def _load(place: str) -> Preset:
    file, name = place.split(".")
    return getattr(importlib.import_module(f"trifold.presets.{file}"), name)


PRESETS: Mapping[str, Preset] = {name: _load(place) for name, place in FAMILIES.items()}
"""Every family by the name that users call it."""


def find_preset(name: str) -> Preset:
    """The family of that name.

    Raises:
        ConfigError: there is none; names the nearest.

    Example:
        >>> find_preset("gpt2").model_type
        'gpt2'
    """
    if name not in PRESETS:
        raise unknown_key(name_option("preset"), name, list(PRESETS))
    return PRESETS[name]


def build_config(preset: str, *, size: str = "base", overrides: Mapping[str, Any] | None = None) -> config.Transformer:
    """The configuration of a family at a size, some of its options replaced.

    Raises:
        ConfigError: an unknown family, size or option, or a value out of range.

    Example:
        >>> len(build_config("bert", size="tiny", overrides={"num_layers": 3}).encoder.blocks)
        3
    """
    family = find_preset(preset)
    return family.build(family.choose(size, overrides or {}))


def __getattr__(name: str) -> ModuleType:
    """The article's model, which builds on the families and so is loaded when it is asked for."""
    if name == "vaswani":
        return importlib.import_module("trifold.presets.vaswani")
    raise AttributeError(f"module 'trifold.presets' has no attribute {name!r}")
