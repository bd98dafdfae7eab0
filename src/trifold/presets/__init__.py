"""The families: a configuration function with sizes by name, and a key table, each."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from trifold.config import unknown_key
from trifold.model import config
from trifold.presets import bert, distilbert, gpt2, llama, marian, modernbert, t5, xlm_roberta
from trifold.presets.preset import Preset
from trifold.presets.task_class import CLASSES, FamilyClasses, Kind, TaskClass

__all__ = ["PRESETS", "Preset", "bert", "build_config", "classes_of", "distilbert", "find_class", "find_preset", "gpt2",
           "llama", "marian", "modernbert", "t5", "xlm_roberta"]  # fmt: skip

PRESETS: Mapping[str, Preset] = {
    preset.name: replace(preset, classes=preset.classes or CLASSES.get(preset.model_type))
    for preset in (
        marian.PRESET,
        bert.BERT,
        bert.ROBERTA,
        xlm_roberta.PRESET,
        distilbert.PRESET,
        modernbert.PRESET,
        gpt2.PRESET,
        llama.LLAMA,
        llama.MISTRAL,
        llama.QWEN2,
        t5.T5,
        t5.T5_V1_1,
    )
}
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
        raise unknown_key("--preset", name, list(PRESETS))
    return PRESETS[name]


def build_config(preset: str, *, size: str = "base", dials: Mapping[str, Any] | None = None) -> config.Transformer:
    """The configuration of a family at a size, some dials changed.

    Raises:
        ConfigError: an unknown family, size or dial, or a value out of range.

    Example:
        >>> len(build_config("bert", size="tiny", dials={"num_layers": 3}).encoder.blocks)
        3
    """
    family = find_preset(preset)
    return family.build(family.choose(size, dials or {}))


def classes_of(data: Mapping[str, Any]) -> FamilyClasses | None:
    """The classes of the family that a Hugging Face configuration names; None for an unknown one.

    Example:
        >>> classes_of({"model_type": "bert"}).body
        'BertModel'
    """
    return next((one.classes for one in PRESETS.values() if one.model_type == data.get("model_type")), None)


def find_class(data: Mapping[str, Any]) -> tuple[Kind, TaskClass] | None:
    """The class for a task that a configuration names; None for the body or the class with a language-model head.

    Example:
        >>> find_class({"model_type": "bert", "architectures": ["BertForTokenClassification"]})[0]
        'tagging'
    """
    named, family = data.get("architectures"), classes_of(data)
    first = named[0] if isinstance(named, list) and named else None
    pairs = family.tasks.items() if family else ()
    return next(((kind, one) for kind, one in pairs if one.architecture == first), None)


def __getattr__(name: str) -> ModuleType:
    """The article's model, which builds on the families and so is loaded when it is asked for."""
    if name == "vaswani":
        return importlib.import_module("trifold.presets.vaswani")
    raise AttributeError(f"module 'trifold.presets' has no attribute {name!r}")
