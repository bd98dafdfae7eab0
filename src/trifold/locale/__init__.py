"""The catalogue of messages and help texts: one TOML file a language, one section an area.

The language is `TRIFOLD_LANG` (`en`, `zh`), else the locale's; English where there is no file of it. A further language
is a further file with the same entries.
"""

import functools
import os
import tomllib
from importlib import resources

from trifold.locale.option import name_option, on_command_line, spoken

__all__ = ["catalogue", "language", "languages", "message", "name_option", "on_command_line"]

FOLDER = resources.files("trifold.locale")


@functools.cache
def languages() -> tuple[str, ...]:
    """The languages that there is a catalogue of.

    Example:
        >>> languages()
        ('en', 'zh')
    """
    names = (file.name.partition(".") for file in FOLDER.iterdir())
    return tuple(sorted(name for name, _, ending in names if ending == "toml"))


def language() -> str:
    """The language to speak, from `TRIFOLD_LANG`, else from the locale's variables.

    Example:
        >>> language() in languages()
        True
    """
    for variable in ("TRIFOLD_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "").lower()
        if value:
            return next((name for name in languages() if value.startswith(name)), "en")
    return "en"


@functools.cache
def catalogue(name: str) -> dict[str, dict[str, str]]:
    """All texts of a language, by area and name.

    Example:
        >>> catalogue("zh")["cli"]["error"]
        '错误：'
    """
    return tomllib.loads(FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def message(key: str, /, **values: object) -> str:
    """The text of `area.name` in the user's language, with its placeholders filled and options called as the user does.

    Example:
        >>> "notes.txt" in message("data.corpus_empty", path="notes.txt")
        True
    """
    area, _, name = key.partition(".")
    text = catalogue(language())[area][name]
    return (text if area == "cli" else spoken(text)).format(**values)
