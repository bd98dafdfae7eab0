"""What a command is made of: options as data, from which parsing, configuration files and help texts follow."""

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from trifold.cli.console import Console
    from trifold.errors import TrifoldError

__all__ = ["COMMON", "READING", "Command", "Option", "Request", "check_value", "label", "near_name", "near_option"]

Kind = Literal["text", "integer", "number", "flag", "file", "folder"]
NOUNS = {"integer": "integer", "number": "number"}
"""Kinds of values that have a word of their own in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option or positional argument.

    Attributes:
        name: as typed after `--`; for a positional argument, its name in the usage line.
        kind: what values it takes.
        default: the value when it is not given; None where that means "not set".
        choices: the only values allowed, where they are few.
        low: smallest number allowed; `above` is a bound that the number must exceed.
        high: largest number allowed.
        many: takes one or more values.
        positional: given by place, not by name.
        required: has to be given on the command line or in the configuration file.
        help: name of its help text in the catalogue's `cli`, None for `option_NAME`.
        group: name of the heading it stands under in `--help`, None for the general one.

    Example:
        >>> Option(name="top-k", kind="integer", low=1).field
        'top_k'
    """

    name: str
    kind: Kind = "text"
    default: Any = None
    choices: tuple[str, ...] = ()
    low: float | None = None
    above: float | None = None
    high: float | None = None
    many: bool = False
    positional: bool = False
    required: bool = False
    help: str | None = None
    group: str | None = None

    @property
    def field(self) -> str:
        """The name of the value in a request and in a configuration file."""
        return self.name.replace("-", "_")

    @property
    def message(self) -> str:
        """The key of the help text."""
        return f"cli.{self.help or f'option_{self.field}'}"

    @property
    def allowed(self) -> str:
        """The values allowed, in a few words, for messages."""
        if self.choices:
            return ", ".join(self.choices)
        low = f">= {self.low:g}" if self.low is not None else f"> {self.above:g}" if self.above is not None else ""
        high = f"<= {self.high:g}" if self.high is not None else ""
        from trifold.locale import message

        noun = "true, false" if self.kind == "flag" else message(f"cli.noun_{NOUNS.get(self.kind, 'text')}")
        return ", ".join(part for part in (noun, low, high) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked of a command.

    Attributes:
        values: every option's value by field name, defaults filled in.
        given: the fields that the user set, on the command line or in the configuration file.
        overrides: dotted paths and their new values.
        sections: mappings of the configuration file, by the name of their section.
        console: where results, notes and progress go.
        words: the command line after the command's name.
        command: the command's name.
    """

    values: argparse.Namespace
    given: frozenset[str]
    overrides: dict[str, str]
    sections: dict[str, Any]
    console: "Console"
    words: tuple[str, ...] = ()
    command: str = ""


def nothing_wrong(_: Request) -> "Iterable[TrifoldError]":
    """What a command finds wrong that asks for no more than its words."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One verb of the command line.

    Attributes:
        name: the words that call it, such as `tokenizer train`.
        options: what it takes.
        run: does the work and returns the machine-readable result.
        problems: what is missing or wrong beside the words themselves, told together with what is wrong with these.
        sections: first parts of the dotted overrides that it understands.
    """

    name: str
    options: tuple[Option, ...]
    run: Callable[[Request], dict[str, Any]]
    problems: "Callable[[Request], Iterable[TrifoldError]]" = nothing_wrong
    sections: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name as part of a message key."""
        return self.name.replace(" ", "_").replace("-", "_")


COMMON = (
    Option(name="config", kind="file", group="common"),
    Option(name="json", kind="flag", default=False, group="common"),
    Option(name="debug", kind="flag", default=False, group="common"),
    Option(name="help", kind="flag", default=False, group="common"),
)
"""Options that every command has."""


ELSEWHERE = {
    "batch": ("batch-size",),
    "count": ("n", "k", "top-k"),
    "data": ("train", "input"),
    "dev": ("valid",),
    "dropout": ("overrides",),
    "epoch": ("epochs", "steps"),
    "epochs": ("steps",),
    "eval": ("dev", "valid"),
    "file": ("input", "data", "train"),
    "folder": ("out",),
    "k": ("top-k", "n"),
    "learning-rate": ("lr",),
    "max-length": ("max-tokens", "length"),
    "max-new-tokens": ("max-tokens",),
    "max-seq-length": ("length",),
    "model": ("preset",),
    "n": ("k", "top-k"),
    "name": ("out",),
    "num": ("n", "k", "top-k"),
    "num-beams": ("beams",),
    "num-epochs": ("epochs", "steps"),
    "num-return-sequences": ("n",),
    "output": ("out",),
    "output-dir": ("out",),
    "per-device-train-batch-size": ("batch-size",),
    "test": ("valid",),
    "time": ("minutes",),
    "top": ("top-k", "k"),
    "top-k": ("k",),
    "train": ("data",),
    "valid": ("dev",),
    "validation": ("dev", "valid"),
    "vocab": ("vocab-size",),
}
"""What options are called in other tools, or in other commands of ours."""


READING = (
    Option(name="on-error", choices=("strict", "skip", "replace"), group="data"),
    Option(name="encoding", group="data"),
)
"""How commands that read files deal with damage and with other encodings than UTF-8."""


def check_value(option: Option, value: object) -> object:
    """The value of an option, from text or from a configuration file, in its own type.

    Raises:
        ConfigError: the value is of another type or out of range.

    Example:
        >>> check_value(Option(name="top-k", kind="integer", low=1), "40")
        40
    """
    if not option.many:
        return _one(option, value)
    return [_one(option, item) for item in (value if isinstance(value, list) else [value])]


def _one(option: Option, value: object) -> object:
    from trifold.errors import UsageError

    converted = _convert(option, value)
    fits = converted is not None and (not option.choices or converted in option.choices)
    if fits and isinstance(converted, int | float) and not isinstance(converted, bool):
        fits = _inside(option, converted)
    if not fits:
        near = near_name(str(value), option.choices)
        raise UsageError("cli.bad_value", option=label(option), given=value, allowed=option.allowed, hint=near)
    return converted


def _convert(option: Option, value: object) -> object:
    """The value in the option's type, None where that cannot be."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        match option.kind:
            case "flag":
                return value if isinstance(value, bool) else None
            case "integer":
                return int(value) if isinstance(value, str) else value if isinstance(value, int) and number else None
            case "number":
                return float(value) if isinstance(value, str) or number else None  # type: ignore[arg-type]
            case _:
                return str(value) if isinstance(value, str) or number else None
    except ValueError:
        return None


def _inside(option: Option, value: float) -> bool:
    bounds = (
        option.low is None or value >= option.low,
        option.above is None or value > option.above,
        option.high is None or value <= option.high,
        math.isfinite(value),
    )
    return all(bounds)


def label(option: Option) -> str:
    """The option as the user types it."""
    return option.name if option.positional else f"--{option.name}"


def near_name(name: str, known: Sequence[str]) -> str:
    """A sentence with the nearest known name, empty where none is near."""
    import difflib

    from trifold.locale import message

    near = difflib.get_close_matches(name, known, n=1)
    return message("cli.did_you_mean", nearest=near[0]) if near else ""


def near_option(typed: str, known: Sequence[str]) -> str:
    """A sentence with the option that is meant: by what other tools call it, else by its letters.

    Example:
        >>> "--lr" in near_option("--learning-rate", ["--lr", "--length"])
        True
    """
    import difflib

    from trifold.locale import message

    name, names = typed.lstrip("-").replace("_", "-").lower(), {option.lstrip("-") for option in known}
    elsewhere = {called: next(filter(names.__contains__, options), "") for called, options in ELSEWHERE.items()}
    meant = {called: option for called, option in elsewhere.items() if option} | {option: option for option in names}
    near = difflib.get_close_matches(name, sorted(meant), n=1)
    return message("cli.did_you_mean", nearest=f"--{meant[near[0]]}") if near else ""
