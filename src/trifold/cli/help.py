"""Help texts, laid out by the width that characters take on the screen (a Chinese one takes two columns)."""

import os
import unicodedata
from collections.abc import Mapping, Sequence

from trifold.cli.option import COMMON, Command, Option
from trifold.locale import catalogue, language, message

__all__ = ["command_help", "overview", "pad"]

INDENT = 26


def overview(groups: Mapping[str, Sequence[Command]]) -> str:
    """The page of `trifold --help`: one line a command, under the heading of its group."""
    lines = [f"{message('cli.usage')} trifold {message('cli.verb')} [{message('cli.options')} ...]", ""]
    lines += _wrap(message("cli.about"), 0)
    for name, commands in groups.items():
        lines += ["", f"{message(f'cli.commands_{name}')}:"]
        lines += [line for one in commands for line in _row(one.name, message(f"cli.short_{one.key}"))]
    lines += ["", f"{message('cli.everywhere')}:"]
    lines += [line for option in COMMON for line in _row(f"--{option.name}{_value(option)}", message(option.message))]
    lines += ["", *_wrap(message("cli.codes"), 0), "", *_wrap(message("cli.more"), 0)]
    return "\n".join(lines)


def command_help(command: Command) -> str:
    """The page of `trifold COMMAND --help`: usage, what it does, every option, an example."""
    places = [option for option in command.options if option.positional]
    usage = " ".join([message("cli.usage"), "trifold", command.name, *map(_place, places)])
    required = [f"--{o.name}{_value(o)}" for o in command.options if o.required and not o.positional]
    lines = [" ".join([usage, *required, f"[{message('cli.options')} ...]"]), ""]
    lines += [*_wrap(message(f"cli.about_{command.key}"), 0)]
    if f"more_{command.key}" in catalogue(language())["cli"]:
        lines += ["", *_wrap(message(f"cli.more_{command.key}"), 0)]
    for group, options in _groups((*command.options, *COMMON)).items():
        lines += ["", f"{message(f'cli.group_{group}')}:"]
        lines += [line for option in options for line in _option_rows(option)]
    if command.sections:
        names = ", ".join(f"--{name}.FIELD" for name in command.sections)
        lines += ["", *_wrap(message("cli.overrides", names=names, command=command.name), 0)]
    lines += ["", f"{message('cli.example')}:"]
    lines += [f"  {line}" for line in message(f"cli.example_{command.key}").splitlines()]
    return "\n".join(lines)


def _groups(options: tuple[Option, ...]) -> dict[str, list[Option]]:
    groups: dict[str, list[Option]] = {}
    for option in options:
        name = "arguments" if option.positional else option.group or "options"
        groups.setdefault(name, []).append(option)
    return groups


def _place(option: Option) -> str:
    return f"{option.name} ..." if option.many else option.name


def _option_rows(option: Option) -> list[str]:
    name = _place(option) if option.positional else f"--{option.name}{_value(option)}"
    notes = []
    if option.choices:
        notes.append(" | ".join(option.choices))
    if option.default not in (None, False) and not option.required:
        notes.append(message("cli.default", value=option.default))
    text = message(option.message)
    return _row(name, f"{text} [{'; '.join(notes)}]" if notes else text)


def _value(option: Option) -> str:
    nouns = {"integer": " N", "number": " X", "file": " FILE", "folder": " DIR", "flag": ""}
    noun = nouns.get(option.kind, f" {option.name.upper()}" if option.choices else " TEXT")
    return f"{noun} ..." if option.many else noun


def _row(name: str, text: str) -> list[str]:
    lines = _wrap(text, INDENT)
    head = f"  {name}"
    if columns(head) + 2 > INDENT:
        return [head, *lines]
    return [head + " " * (INDENT - columns(head)) + lines[0].lstrip(), *lines[1:]]


def columns(text: str) -> int:
    """How many columns of a terminal the text takes.

    Example:
        >>> columns("ab"), columns("中文")
        (2, 4)
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def pad(text: str, width: int) -> str:
    """The text with blanks behind it, up to so many columns of a terminal.

    Example:
        >>> pad("ab", 4) + "|", pad("中文", 6) + "|"
        ('ab  |', '中文  |')
    """
    return text + " " * max(width - columns(text), 0)


def _wrap(text: str, indent: int) -> list[str]:
    """Lines of at most the terminal's width, each indented; Chinese breaks between any two characters."""
    width = max(60, min(_width(), 110)) - indent
    lines, line = [], ""
    for word in _words(text):
        if line and columns((line + word).rstrip()) > width:
            lines.append(line.rstrip())
            line = word.lstrip()
        else:
            line += word
    return [" " * indent + part for part in [*lines, line.rstrip()]]


def _width() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or os.get_terminal_size().columns
    except (OSError, ValueError):
        return 100


CLOSING = "，。；：、）」』！？”’"


def _words(text: str) -> list[str]:
    """Pieces that must not be broken: words with the space after them, single wide characters with their full stop."""
    pieces: list[str] = []
    for letter in text:
        wide = unicodedata.east_asian_width(letter) in "WF"
        starts = not pieces or pieces[-1].endswith(" ") or (wide and letter not in CLOSING) or _ends_wide(pieces[-1])
        if starts and not (pieces and letter in CLOSING):
            pieces.append(letter)
        else:
            pieces[-1] += letter
    return pieces


def _ends_wide(piece: str) -> bool:
    return unicodedata.east_asian_width(piece[-1]) in "WF"
