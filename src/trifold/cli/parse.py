"""From the words on the command line and a configuration file to a request."""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trifold.cli.option import COMMON, Command, Option, Request, check_value, label, near_name, near_option
from trifold.errors import TrifoldError, UsageError
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.cli.console import Console

__all__ = ["find_command", "parse", "parse_to_run", "wants"]

PATH = re.compile(r"(?:--)?([a-z_][a-z0-9_-]*(?:\.[a-z0-9_]+)*)(?:=(.*))?", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """argparse that raises our errors instead of printing and leaving."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError("cli.bad_arguments", problem=message, command=self.prog)


def wants(words: list[str], flag: str) -> bool:
    """Whether a flag stands among the words, before a `--` that ends the options."""
    options = words[: words.index("--")] if "--" in words else words
    return flag in options


def find_command(words: list[str], commands: tuple[Command, ...]) -> tuple[Command, list[str]]:
    """The command that the first words name, and the words after it.

    Raises:
        UsageError: no such command; the message gives the nearest name.
    """
    names = {command.name: command for command in commands}
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in names:
            return names[name], words[count:]
    known = sorted(names)
    following = [name for name in known if words and name.split()[0] == words[0]]
    given = " ".join(words[: 2 if following else 1])
    raise UsageError(
        "cli.no_such_command", given=given, allowed=", ".join(following or known), hint=near_name(given, known)
    )


def parse(command: Command, words: list[str], console: "Console") -> Request:
    """Read a command's options, its configuration file and the dotted overrides.

    Args:
        command: the command that was called.
        words: what stands after its name.
        console: where its results will go.

    Raises:
        UsageError: an unknown option, a bad value, a required option that is missing; all of them, where there are several.
    """
    request, problems = _read_words(command, words, console)
    _refuse(problems)
    return request


def parse_to_run(command: Command, words: list[str], console: "Console") -> Request:
    """The same, and what the command itself finds wrong before it runs, such as a file that is not there.

    Raises:
        UsageError: as `parse`.
        TrifoldError: what the command finds.
    """
    request, problems = _read_words(command, words, console)
    _refuse([*problems, *command.problems(request)])
    return request


def _read_words(command: Command, words: list[str], console: "Console") -> tuple[Request, list[TrifoldError]]:
    """The request as far as it can be understood, and all that is wrong with the words.

    Raises:
        UsageError: they cannot be told apart.
    """
    options, typed, problems = (*command.options, *COMMON), tuple(words), []
    words, overrides = _take_overrides(command, words, problems)
    namespace, rest = _build(command, options).parse_known_args(words)
    problems += _unknown(command, options, rest)
    typed_in = _present(options, namespace)
    explicit = dict(_checked(typed_in, problems))
    filed, sections = _read_file(command, explicit["config"], problems) if "config" in explicit else ({}, {})
    values = {option.field: option.default for option in options} | filed | explicit
    fields = frozenset(option.field for option, _ in typed_in) | frozenset(filed)
    needed = [option for option in options if option.required and option.field not in fields]
    missing = [label(option) for option in needed if values[option.field] in (None, [])]
    if missing:
        problems.append(UsageError("cli.missing_option", missing=", ".join(missing), command=command.name))
    request = Request(
        values=argparse.Namespace(**values),
        given=fields,
        overrides=overrides,
        sections=sections,
        console=console,
        words=typed,
        command=command.name,
    )
    return request, problems


def _refuse(problems: Sequence[TrifoldError]) -> None:
    """Raise what is wrong: the one thing, or all that there are as one.

    Raises:
        TrifoldError: something is wrong.
    """
    if len(problems) == 1:
        raise problems[0]
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in dict.fromkeys(map(str, problems)))
        raise UsageError("cli.several_problems", count=len(problems), problems=listed)


def _unknown(command: Command, options: Sequence[Option], rest: Sequence[str]) -> list[TrifoldError]:
    """What is said of words that are no options: of those that look like one, else of the first."""
    names = [label(option) for option in options if not option.positional]
    unknown = [word for word in rest if word.startswith("-")] or list(rest[:1])
    return [
        UsageError("cli.no_such_option", given=word, command=command.name, hint=near_option(word, names))
        for word in unknown
    ]


def _checked(given: Iterable[tuple[Option, Any]], problems: list[TrifoldError]) -> Iterator[tuple[str, object]]:
    """The values of options, each in its own type; those that are refused go to the problems."""
    for option, value in given:
        try:
            yield option.field, check_value(option, value)
        except UsageError as error:
            problems.append(error)


def _build(command: Command, options: tuple[Option, ...]) -> Parser:
    parser = Parser(prog=f"trifold {command.name}", add_help=False, allow_abbrev=False)
    for option in options:
        settings: dict[str, Any] = {"default": argparse.SUPPRESS}
        if option.positional:
            parser.add_argument(option.field, nargs="*" if option.many else "?", **settings)
        elif option.kind == "flag":
            parser.add_argument(label(option), dest=option.field, action="store_true", **settings)
        else:
            nargs = "+" if option.many else None
            parser.add_argument(label(option), dest=option.field, nargs=nargs, **settings)
    return parser


def _present(options: tuple[Option, ...], namespace: argparse.Namespace) -> list[tuple[Option, Any]]:
    values = vars(namespace)
    return [(option, values[option.field]) for option in options if values.get(option.field) not in (None, [])]


def _take_overrides(
    command: Command, words: list[str], problems: list[TrifoldError]
) -> tuple[list[str], dict[str, str]]:
    """Split `--training.seed 3`, `--training.seed=3`, `training.seed=3` and `patience=3` from the other words."""
    rest: list[str] = []
    overrides: dict[str, str] = {}
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        match = PATH.fullmatch(word)
        if match is None or not _is_setting(command, match):
            rest.append(word)
            continue
        if not _is_ours(command, match[1]):
            problems.append(_no_section(command, match[1]))
            place += match[2] is None  # its value
        elif _is_option(command, match[1]):
            rest += [f"--{match[1].replace('_', '-')}", match[2]]
        elif match[2] is not None:
            overrides[match[1]] = match[2]
        elif place < len(words):
            overrides[match[1]] = words[place]
            place += 1
        else:
            problems.append(UsageError("cli.no_value", option=word, command=command.name))
    return rest, overrides


def _is_setting(command: Command, match: re.Match[str]) -> bool:
    """Whether a word sets a field of the experiment, and is no option, prompt or file name."""
    dashed = match[0].startswith("--")
    if "." not in match[1]:
        return match[1] in command.sections and (
            match[2] is not None if not dashed else not _is_option(command, match[1])
        )
    return dashed or (match[2] is not None and _is_ours(command, match[1]))


def _is_option(command: Command, name: str) -> bool:
    return any(option.field == name and not option.positional for option in command.options)


def _is_ours(command: Command, path: str) -> bool:
    """Whether a word such as `a.b=c` without dashes is an override, not a prompt or a file name."""
    return path.split(".", maxsplit=1)[0] in command.sections


def _no_section(command: Command, path: str) -> UsageError:
    allowed = ", ".join(f"{name}." for name in command.sections) or message("cli.none")
    hint = near_name(path.split(".", maxsplit=1)[0], list(command.sections))
    return UsageError("cli.no_such_section", given=path, command=command.name, allowed=allowed, hint=hint)


def _read_file(command: Command, path: object, problems: list[TrifoldError]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options and the sections that a configuration file sets."""
    from trifold.config import read_mapping

    file = Path(str(path))
    known = {option.field: option for option in command.options}
    values: dict[str, Any] = {}
    sections: dict[str, Any] = {}
    for name, value in read_mapping(file).items():
        field = name.replace("-", "_")
        if field in known and (field not in command.sections or not isinstance(value, dict)):
            values |= {} if value is None else dict(_checked([(known[field], value)], problems))
        elif field in command.sections:
            sections[field] = value
        else:
            names = sorted({*known, *command.sections})
            allowed, hint = ", ".join(names), near_name(name, names)
            problems.append(UsageError("cli.unknown_setting", path=file, given=name, allowed=allowed, hint=hint))
    return values, sections
