"""Strict configuration: frozen dataclasses to JSON and back, and typed dotted overrides.

A configuration class is a frozen, keyword-only, slotted dataclass that inherits `Config`. Variants are tagged unions:
each member has `kind: Literal["..."]` and the field is `Annotated[A | B, TAGGED]`. A number's range stands in its type,
`Annotated[int, Interval(ge=1)]`. Types and ranges hold however the value was made, in code or from a file. Unknown keys,
wrong types, NaN and infinity are refused with the path of the field.
"""

import dataclasses
import difflib
import functools
import json
import math
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from annotated_types import Interval
from pydantic import BeforeValidator, ConfigDict, Discriminator, TypeAdapter, ValidationError

from trifold.errors import ConfigError
from trifold.locale import message

__all__ = [
    "TAGGED",
    "Chance",
    "Config",
    "Count",
    "Fraction",
    "Natural",
    "PathText",
    "Positive",
    "from_json",
    "override",
    "read_mapping",
    "require",
    "to_json",
]

TAGGED = Discriminator("kind")
LARGEST = 2**24
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}

Count = Annotated[int, Interval(ge=1, le=LARGEST)]
"""A whole number from 1."""
Natural = Annotated[int, Interval(ge=0, le=LARGEST)]
"""A whole number from 0."""
Chance = Annotated[float, Interval(ge=0, lt=1)]
"""A probability that is less than 1."""
Fraction = Annotated[float, Interval(ge=0, le=1)]
"""A part of a whole."""
Positive = Annotated[float, Interval(gt=0)]
"""A number above 0."""

PathText = Annotated[str, BeforeValidator(lambda given: os.fspath(given) if isinstance(given, os.PathLike) else given)]
"""Where something is; a `pathlib.Path` becomes its text."""

C = TypeVar("C", bound="Config")


class Config:
    """What every configuration dataclass inherits: strict types, no unknown fields, finite numbers in their range.

    A list becomes the tuple that a field asks for.

    Raises:
        ConfigError: at construction, when a value is of another type than its field, or out of its range.

    Example:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
        ... class Size(Config):
        ...     width: Count = 8
        >>> Size(width="8")
        Traceback (most recent call last):
        trifold.errors.ConfigError: width = "8" is not allowed: Input should be a valid integer. Correct it.
    """

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def __post_init__(self) -> None:
        """Check the types and ranges of all fields; a class with rules of its own calls this first."""
        for name, field in _fields(type(self)).items():
            raw = getattr(self, name)
            try:
                value = field.validate_python(tuple(raw) if isinstance(raw, list) else raw)
            except ValidationError as error:
                raise _explain(type(self), error, name, (name,)) from None
            if value is not raw:
                object.__setattr__(self, name, value)

    @classmethod
    def as_meant(cls, saved: Any) -> Any:
        """What the JSON data that a run keeps means: earlier versions did not write settings that they did not have."""
        return saved


@functools.cache
def _fields(cls: type) -> dict[str, Any]:
    """What checks each field of a class."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: _checked(hints[field.name]) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]


def _checked(hint: Any) -> Any:
    """What checks values of a type; a configuration brings its own strictness."""
    return TypeAdapter(hint, config=None if dataclasses.is_dataclass(hint) else Config.__pydantic_config__)


def to_json(config: Config) -> dict[str, Any]:
    """A configuration as JSON data, every field written out.

    Example:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
        ... class Size(Config):
        ...     width: int = 8
        >>> to_json(Size())
        {'width': 8}
    """
    return json.loads(json.dumps(dataclasses.asdict(config)))  # type: ignore[call-overload]


def from_json(cls: type[C], data: object, *, where: str = "configuration") -> C:
    """Build a configuration of class `cls` from JSON data.

    Args:
        cls: the configuration class.
        data: what `json.load` gave.
        where: name of the file or option, for messages.

    Raises:
        ConfigError: an unknown key, a wrong type, a missing field or a value out of range, with its path.

    Example:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
        ... class Size(Config):
        ...     width: int = 8
        >>> from_json(Size, {"width": 16}).width
        16
    """
    try:
        text = json.dumps(data)
        return _adapter(cls).validate_json(text)
    except (RecursionError, TypeError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise _explain(cls, error, where) from None
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("config.bad_value", where=where, given=type(data).__name__, problem=str(error)) from None


@functools.cache
def _adapter(cls: type) -> Any:
    """What checks data against a class; made once for each class, for that takes longer than the checking."""
    return TypeAdapter(cls)


def _explain(cls: type[Config], error: ValidationError, where: str, above: tuple[str, ...] = ()) -> ConfigError:
    """The first of pydantic's findings about `cls`, or about its field at `above`, as one of our messages."""
    finding = error.errors(include_url=False)[0]
    path = [str(part) for part in finding["loc"]]
    place = ".".join([where, *path])
    if finding["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        allowed = sorted(_field_names(cls, [*above, *path[:-1]]))
        return unknown_key(".".join([where, *path[:-1]]), path[-1], allowed)
    if finding["type"] in ("missing", "missing_keyword_only_argument"):
        return ConfigError("config.missing_key", where=".".join([where, *path[:-1]]), name=path[-1])
    context = finding.get("ctx", {})
    if isinstance(context.get("error"), ConfigError):
        return context["error"]
    for name, sign in SIGNS.items():
        if name in context:
            return ConfigError(
                "config.out_of_range", where=place, given=finding["input"], allowed=f"{sign} {context[name]}"
            )
    given = json.dumps(finding["input"], ensure_ascii=False, default=repr)[:80]
    return ConfigError("config.bad_value", where=place, given=given, problem=_problem(cls, finding, [*above, *path]))


def _problem(cls: type[Config], finding: Any, path: list[str]) -> str:
    """What is wrong with a value; of one that should be a configuration, of which classes it may be."""
    classes = {found.__name__ for kind in _types_at(cls, path) for found in _dataclasses_in(kind)}
    if classes and not isinstance(finding["input"], dict):
        return f"Input should be an instance of {' or '.join(sorted(classes))}"
    return finding["msg"]


def unknown_key(where: str, key: str, allowed: list[str]) -> ConfigError:
    """The error for a key that nobody knows, with the nearest known name."""
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = message("config.hint", nearest=near[0]) if near else ""
    return ConfigError("config.unknown_key", where=where, given=key, allowed=", ".join(allowed), hint=hint)


def _field_names(cls: type, path: list[str]) -> set[str]:
    """Names of the fields of the dataclass found by walking `path` from `cls` (indices and tags are passed over)."""
    names: set[str] = set()
    current: list[type] = [cls]
    for key in path:
        following: list[type] = []
        for owner in current:
            hints = typing.get_type_hints(owner)
            following += _dataclasses_in(hints[key]) if key in hints else []
        current = following or current
    for owner in current:
        names |= {field.name for field in dataclasses.fields(owner)}
    return names


def _dataclasses_in(annotation: Any) -> list[type]:
    if dataclasses.is_dataclass(annotation):
        return [annotation]  # type: ignore[list-item]
    return [found for part in typing.get_args(annotation) for found in _dataclasses_in(part)]


def override(config: C, changes: Mapping[str, object], *, where: str = "configuration") -> C:
    """A copy of `config` with dotted fields replaced, checked like a file.

    Args:
        config: the configuration to start from.
        changes: dotted path to new value; a string is read as JSON where it can be (`"3"` is 3, `"none"` a string).
        where: name for messages.

    Raises:
        ConfigError: a path that does not exist, or a value that its field refuses.

    Example:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
        ... class Size(Config):
        ...     width: int = 8
        >>> override(Size(), {"width": "32"}).width
        32
    """
    data = to_json(config)
    for path, value in changes.items():
        *parents, last = path.split(".")
        owner: Any = data
        for depth, key in enumerate(parents):
            if not isinstance(owner, dict) or key not in owner:
                raise unknown_key(".".join([where, *parents[:depth]]), key, _keys(owner))
            if owner[key] is None and _holds_fields(type(config), parents[: depth + 1]):
                owner[key] = {}
            owner = owner[key]
        if not isinstance(owner, dict) or (last not in owner and not _is_open(type(config), parents, last)):
            raise unknown_key(".".join([where, *parents]), last, _keys(owner))
        texts = dict[str, str] in _types_at(
            type(config), parents
        )  # a name is a name, also where it looks like a number
        owner[last] = value if texts else _parse(value)
    return from_json(type(config), data, where=where)


def _keys(owner: object) -> list[str]:
    return sorted(owner) if isinstance(owner, dict) else []


def _types_at(cls: type, path: list[str]) -> list[Any]:
    """The types that the field at a path may have."""
    current: list[Any] = [cls]
    for part in path:
        hints = [typing.get_type_hints(owner) for kind in current for owner in _dataclasses_in(kind)]
        current = [found[part] for found in hints if part in found]
    return current


def _holds_fields(cls: type, path: list[str]) -> bool:
    """Whether something with fields of its own may stand at a path."""
    return any(_dataclasses_in(kind) for kind in _types_at(cls, path))


def _is_open(cls: type, path: list[str], name: str) -> bool:
    """Whether a mapping at a path takes a new name: any name, or that of a field that is not written yet."""
    kinds = _types_at(cls, path)
    mapping = any(typing.get_origin(part) is dict for kind in kinds for part in (kind, *typing.get_args(kind)))
    return mapping or any(name in typing.get_type_hints(owner) for kind in kinds for owner in _dataclasses_in(kind))


def _parse(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a configuration file: `.json`, `.toml` or `.yaml`/`.yml`, whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, cannot be parsed or holds no mapping.
    """
    import tomllib

    import yaml

    kind = {".json": "JSON", ".toml": "TOML", ".yaml": "YAML", ".yml": "YAML"}.get(path.suffix, "")
    readers = {"JSON": json.loads, "TOML": tomllib.loads, "YAML": yaml.safe_load}
    if not kind:
        allowed = ".json, .toml, .yaml, .yml"
        raise ConfigError("config.out_of_range", where="--config", given=str(path), allowed=allowed)
    try:
        data = readers[kind](path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError("config.not_json", path=path, kind=kind, problem=str(error)) from None
    if not isinstance(data, dict):
        raise ConfigError("config.not_json", path=path, kind=kind, problem="the top level is not a mapping")
    return data


def require(ok: bool, *, where: str, given: object, allowed: str) -> None:
    """Refuse a value that is out of its range; for `__post_init__`.

    Raises:
        ConfigError: `ok` is false.

    Example:
        >>> require(3 > 0, where="d_model", given=3, allowed="1 or more")
    """
    if not ok or (isinstance(given, float) and not math.isfinite(given)):
        raise ConfigError("config.out_of_range", where=where, given=given, allowed=allowed)
