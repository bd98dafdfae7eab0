"""Rotary positions as Hugging Face's configurations describe them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from trifold.config import Config, Positive
from trifold.model import config
from trifold.presets.field import Fields, refuse_unless

__all__ = [
    "FIELDS",
    "Alternation",
    "Linear",
    "Scaling",
    "build_rotary",
    "read_layer_types",
    "read_rope",
    "read_rotary",
    "write_rope",
    "write_rotary",
]

RAMP = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_max_length",
}
FIELDS = Fields(
    joined={"rope_parameters": ("rotary_scaling", None), "rope_theta": ("rotary_base", 10_000.0)},
    others={"rope_scaling": None, "partial_rotary_factor": None, "original_max_position_embeddings": None},
)
"""What `read_rotary` reads, besides the greatest length."""
NO_WAVE = 1e30
"""More turns than any wave makes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear(Config):
    """All rotary frequencies divided by `factor`: positions stand that much closer together (Chen et al. 2023)."""

    factor: Positive


Scaling = config.FrequencyScaling | Linear


def build_rotary(base: float, scaling: Scaling | None) -> config.Rotary:
    """The positions; a linear scaling is one in which no wave is short enough to be kept.

    Example:
        >>> build_rotary(10000.0, None).scaling is None
        True
    """
    if isinstance(scaling, Linear):
        scaling = config.FrequencyScaling(
            factor=scaling.factor, low_freq_factor=NO_WAVE, high_freq_factor=2 * NO_WAVE, original_max_length=1
        )
    return config.Rotary(base=base, scaling=scaling)


def read_rope(rope: object, where: str, *, base: object, length: object) -> tuple[Any, dict[str, Any] | None]:
    """The base and the scaling that one mapping of a configuration stands for.

    Args:
        rope: the mapping.
        where: the field that holds it, for messages.
        base: where the mapping has none.
        length: the length first trained on, where the mapping has none.

    Raises:
        ConfigError: a kind of scaling that is not computed here.

    Example:
        >>> read_rope({"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}, "rope_parameters", base=1, length=8)
        (500.0, {'factor': 2.0})
    """
    refuse_unless(isinstance(rope, dict), where, rope, "a mapping")
    assert isinstance(rope, dict)
    kind = rope.get("rope_type", rope.get("type", "default"))
    refuse_unless(kind in ("default", "linear", "llama3"), f"{where}.rope_type", kind, "default, linear, llama3")
    fraction = rope.get("partial_rotary_factor")
    refuse_unless(fraction is None or fraction == 1.0, f"{where}.partial_rotary_factor", fraction, "1.0")
    theta = rope.get("rope_theta", base)
    _require_number(theta, f"{where}.rope_theta")
    if kind == "default":
        return theta, None
    names = {"factor": "factor"} if kind == "linear" else RAMP
    scaling = {name: rope.get(name) for name in names}
    if kind == "llama3":
        scaling["original_max_position_embeddings"] = rope.get("original_max_position_embeddings", length)
    for name, value in scaling.items():
        _require_number(value, f"{where}.{name}")
    return theta, {ours: scaling[name] for name, ours in names.items()}


def read_rotary(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The base and the scaling where they are the same in all layers.

    Raises:
        ConfigError: a kind of scaling that is not computed here.

    Example:
        >>> read_rotary({**FIELDS.defaults, "max_position_embeddings": 8})
        {'rotary_base': 10000.0, 'rotary_scaling': None}
    """
    old = fields["rope_scaling"]
    where, rope = ("rope_scaling", old) if old else ("rope_parameters", fields["rope_parameters"] or {})
    fraction, length = fields["partial_rotary_factor"], fields["original_max_position_embeddings"]
    refuse_unless(fraction is None or fraction == 1.0, "partial_rotary_factor", fraction, "1.0")
    if length is not None and isinstance(rope, dict):  # where both stand, transformers takes this
        rope = {**rope, "original_max_position_embeddings": length}
    base, scaling = read_rope(rope, where, base=fields["rope_theta"], length=fields["max_position_embeddings"])
    return {"rotary_base": base, "rotary_scaling": scaling}


def _require_number(value: object, where: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    refuse_unless(number, where, value, "a number above 0")


def write_rope(base: float, scaling: Scaling | None) -> dict[str, Any]:
    """The mapping of a configuration for positions like these.

    Example:
        >>> write_rope(10000.0, Linear(factor=4.0))
        {'rope_type': 'linear', 'rope_theta': 10000.0, 'factor': 4.0}
    """
    match scaling:
        case None:
            return {"rope_type": "default", "rope_theta": base}
        case Linear():
            return {"rope_type": "linear", "rope_theta": base, "factor": scaling.factor}
        case _:
            more = {name: getattr(scaling, ours) for name, ours in RAMP.items()}
            return {"rope_type": "llama3", "rope_theta": base, **more}


@dataclass(frozen=True, slots=True)
class Alternation:
    """Layers that see everything and layers that see a window, with rotary positions of their own for each kind.

    Attributes:
        names: for each kind of layer what its two options begin with, and the field with the base of older files.
        scaled: the kinds that `rope_scaling`, a field of older files, is for.

    Example:
        >>> kinds = Alternation({"full_attention": ("global", "theta")}, scaled=("full_attention",))
        >>> fields = {"rope_parameters": None, "rope_scaling": None, "max_position_embeddings": 8, "theta": 9.0}
        >>> kinds.read({**fields, "layer_types": None})
        {'global_base': 9.0, 'global_scaling': None}
    """

    names: Mapping[str, tuple[str, str]]
    scaled: Collection[str]

    def read(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The kind of each layer, where the file says it, and the base and the scaling of each kind.

        Raises:
            ConfigError: a kind of layer or of scaling that is not computed here, or not one kind for each layer.
        """
        ropes, more, values = fields["rope_parameters"] or {}, fields["rope_scaling"] or {}, dict[str, Any]()
        plain = isinstance(ropes, dict) and isinstance(more, dict) and not ropes.keys() - self.names.keys()
        refuse_unless(plain, "rope_parameters", ropes, f"one mapping for each of {', '.join(self.names)}")
        for kind, (option, base) in self.names.items():
            rope, extra = ropes.get(kind) or {}, more if kind in self.scaled else {}
            where = "rope_scaling" if extra else f"rope_parameters.{kind}"
            refuse_unless(isinstance(rope, dict), where, rope, "a mapping")
            rotary = read_rope({**rope, **extra}, where, base=fields[base], length=fields["max_position_embeddings"])
            values[f"{option}_base"], values[f"{option}_scaling"] = rotary
        kinds = fields["layer_types"]
        if kinds is not None:
            values["layer_types"] = read_layer_types(kinds, fields["num_hidden_layers"])
        return values

    def write(self, options: Any) -> dict[str, Any]:
        """The fields that `read` reads, of today and of older files, from the options of a family."""
        rotaries = {
            kind: (getattr(options, f"{option}_base"), getattr(options, f"{option}_scaling"))
            for kind, (option, _) in self.names.items()
        }
        ropes = {kind: write_rope(base, scaling) for kind, (base, scaling) in rotaries.items()}
        bases = {self.names[kind][1]: base for kind, (base, _) in rotaries.items()}
        return {"layer_types": options.kinds, **bases, "rope_parameters": ropes}


def write_rotary(options: Any) -> dict[str, Any]:
    """The fields that `read_rotary` reads, of today and of older files.

    Example:
        >>> from types import SimpleNamespace
        >>> write_rotary(SimpleNamespace(rotary_base=9.0, rotary_scaling=None))["rope_theta"]
        9.0
    """
    base, scaling = options.rotary_base, options.rotary_scaling
    return {"rope_theta": base, "rope_parameters": write_rope(base, scaling)}


def read_layer_types(kinds: object, count: object) -> list[str]:
    """Which layers see everything and which a window.

    Raises:
        ConfigError: not one known kind for each layer.

    Example:
        >>> read_layer_types(["full_attention"], 1)
        ['full_attention']
    """
    known = ("full_attention", "sliding_attention")
    fits = isinstance(kinds, list) and len(kinds) == count and all(kind in known for kind in kinds)
    refuse_unless(fits, "layer_types", kinds, f"a list of num_hidden_layers = {count} of {', '.join(known)}")
    return list(kinds)  # type: ignore[call-overload]
