"""What a family is: dials, a configuration made from them, and both ways to and from Hugging Face's names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from trifold.checkpoint import KeyMap
from trifold.config import Config, from_json, unknown_key
from trifold.errors import ConfigError
from trifold.model import config

__all__ = ["ACTIVATIONS", "Preset", "activation_name", "pick", "refuse_unless"]

ACTIVATIONS: dict[str, Literal["relu", "gelu", "gelu_tanh", "silu"]] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}
"""Hugging Face's names of activations, and ours."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One family.

    Attributes:
        name: how users call it.
        model_type: Hugging Face's name.
        architecture: Hugging Face's class with the language-model head.
        dials: the class of its dials, whose defaults are the paper's base size.
        sizes: dials that differ from the defaults, by name of the size.
        build: dials to configuration.
        keys: dials to key table.
        write: dials to Hugging Face's configuration, without special ids.
        read: Hugging Face's configuration to the values of dials.
        prefix: what all names of the body begin with, and what a folder saved without head lacks.
        objective: the objective it was published with.
    """

    name: str
    model_type: str
    architecture: str
    dials: type[Config]
    sizes: Mapping[str, Mapping[str, Any]]
    build: Callable[[Any], config.Transformer]
    keys: Callable[[Any], KeyMap]
    write: Callable[[Any], dict[str, Any]]
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    prefix: str
    objective: Literal["causal", "masked", "denoising", "sequence_to_sequence"]

    def choose(self, size: str, changes: Mapping[str, Any]) -> Config:
        """The dials of a size, some of them changed.

        Raises:
            ConfigError: an unknown size or dial, or a value out of range.
        """
        if size not in self.sizes:
            raise unknown_key(f"--size ({self.name})", size, list(self.sizes))
        return self.turn(self.sizes[size], changes)

    def turn(self, dials: Mapping[str, Any], changes: Mapping[str, Any]) -> Config:
        """Dials, some of them changed.

        Raises:
            ConfigError: an unknown dial, or a value out of range.
        """
        known = {field.name for field in fields(self.dials)}  # type: ignore[arg-type]
        for name in changes:
            if name not in known:
                raise unknown_key(f"--preset {self.name}", name, sorted(known))
        return from_json(self.dials, {**dials, **changes}, where=self.name)

    def read_dials(self, data: Mapping[str, Any]) -> Config:
        """The dials that a Hugging Face configuration stands for.

        Raises:
            ConfigError: a field is missing, of the wrong type, out of range, or asks for what this family lacks.
        """
        refuse_unless("auto_map" not in data, "auto_map", data.get("auto_map"), "no code of its own")
        values = {name: value for name, value in self.read(data).items() if value is not None}
        return from_json(self.dials, values, where="config.json")


def pick(data: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """Values of `data` under new names; absent ones become None.

    Example:
        >>> pick({"n_layer": 2}, num_layers="n_layer", num_heads="n_head")
        {'num_layers': 2, 'num_heads': None}
    """
    return {ours: data.get(theirs) for ours, theirs in names.items()}


def refuse_unless(ok: bool, name: str, given: object, allowed: str) -> None:
    """Refuse a setting that this family's configuration cannot express.

    Raises:
        ConfigError: `ok` is false.
    """
    if not ok:
        raise ConfigError("presets.unsupported", name=name, given=given, allowed=allowed)


def activation_name(data: Mapping[str, Any], key: str, default: str) -> str:
    """Our name of the activation that `data[key]` names.

    Raises:
        ConfigError: nobody here knows it.
    """
    given = data.get(key, default)
    refuse_unless(isinstance(given, str) and given in ACTIVATIONS, key, given, ", ".join(ACTIVATIONS))
    return ACTIVATIONS[given]


def their_activation(ours: str) -> str:
    """Hugging Face's first name for one of our activations.

    Example:
        >>> their_activation("gelu_tanh")
        'gelu_new'
    """
    return next(theirs for theirs, name in ACTIVATIONS.items() if name == ours)
