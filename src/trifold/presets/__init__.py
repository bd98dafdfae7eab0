"""The families: a configuration function with sizes by name, and a key table, each."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from trifold.config import unknown_key
from trifold.locale import name_option
from trifold.model import config
from trifold.presets import (
    albert,
    bart,
    bert,
    distilbert,
    electra,
    gemma3,
    gpt2,
    llama,
    marian,
    mistral,
    modernbert,
    mt5,
    qwen2,
    qwen3,
    t5,
    xlm_roberta,
)
from trifold.presets.preset import Preset

__all__ = [
    "PRESETS",
    "Preset",
    "bart",
    "bert",
    "build_config",
    "find_preset",
    "gpt2",
    "llama",
    "marian",
    "modernbert",
    "mt5",
    "t5",
]

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        marian.PRESET,
        bert.BERT,
        bert.ROBERTA,
        xlm_roberta.PRESET,
        distilbert.PRESET,
        electra.PRESET,
        albert.PRESET,
        modernbert.PRESET,
        gpt2.PRESET,
        llama.LLAMA,
        mistral.PRESET,
        qwen2.PRESET,
        qwen3.PRESET,
        gemma3.PRESET,
        t5.T5,
        t5.T5_V1_1,
        mt5.MT5,
        mt5.UMT5,
        bart.BART,
        bart.MBART,
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
