"""The catalogue of messages and help texts, each in English and Chinese.

One TOML file an area; each entry holds `en` and `zh`. The language is `TRIFOLD_LANG` (`en` or `zh`), else the locale.
"""

import functools
import os
import tomllib
from importlib import resources

__all__ = ["catalogue", "language", "message"]


def language() -> str:
    """The language to speak: `zh` or `en`, from `TRIFOLD_LANG`, else from the locale's variables.

    Example:
        >>> language() in ("en", "zh")
        True
    """
    for variable in ("TRIFOLD_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


@functools.cache
def catalogue(area: str) -> dict[str, dict[str, str]]:
    """All entries of one area (a file of this folder), by name.

    Example:
        >>> sorted(catalogue("config")["unknown_key"])
        ['en', 'zh']
    """
    return tomllib.loads(resources.files("trifold.locale").joinpath(f"{area}.toml").read_text(encoding="utf-8"))


def message(key: str, /, **values: object) -> str:
    """The text of `area.name` in the user's language, with its placeholders filled.

    Example:
        >>> "notes.txt" in message("data.corpus_empty", path="notes.txt")
        True
    """
    area, _, name = key.partition(".")
    entry = catalogue(area)[name]
    return entry[language()].format(**values)
