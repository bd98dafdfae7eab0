"""What commands that use a model have in common: the model of a certain kind, and the texts to use it on."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trifold.cli.option import READING, Option, Request
from trifold.errors import UsageError
from trifold.locale import message

__all__ = [
    "INPUT",
    "MASKED",
    "PRECISION",
    "TEXTS",
    "given_rows",
    "given_texts",
    "reading_of",
    "row_options",
    "text_in",
    "text_of",
    "tuned_for",
]

MASKED = Option(name="words", positional=True, many=True, help="option_texts")
"""The texts of a command that also takes them by `--text`."""
TEXTS = Option(name="text", positional=True, many=True, help="option_texts")
INPUT = (Option(name="input", help="option_input"), *READING)
PRECISION = Option(name="precision", choices=("float32", "bfloat16", "int8"), default="float32")


HAN = re.compile("[\u3400-\u9fff]")


def given_texts(request: Request, words: Sequence[str] | None, *, single: bool = False) -> list[str]:
    """The texts that stand on the command line, in quotes or not; that words were taken together is said.

    Words without quotes are one text, as search engines take them. Texts in quotes are several, and so are those in
    Chinese, which need none.

    Args:
        request: what the user asked.
        words: of the command line.
        single: whether they are one text in any case.

    Raises:
        UsageError: a text is the name of a file, which nobody would read.
    """
    words = list(words or ())
    for word in words:
        if len(word) < 256 and word != "-" and Path(word).is_file():
            raise UsageError("cli.text_is_file", given=word, command=request.command)
    quoted = any(re.search(r"\s", word) for word in words) or all(HAN.search(word) for word in words)
    if len(words) < 2 or (quoted and not single):
        return words
    text = " ".join(words)
    if not single:
        request.console.note(message("cli.words_joined", text=text))
    return [text]


def given_rows(request: Request, texts: Sequence[str], *, keep_blank: bool = False) -> list[Any]:
    """The texts of the command line and the rows of `--input`; standard input for `-`, or where there are neither.

    Raises:
        UsageError: there are neither, and standard input is a terminal, where nothing would come.
        DataError: the file is missing or damaged.
    """
    from trifold.data.rows import Row, read_rows

    file, options = request.values.input, row_options(request, keep_blank=keep_blank)
    if list(texts) == ["-"] or (not texts and file is None):
        if not texts and sys.stdin.isatty():
            raise UsageError("cli.no_texts")
        return list(read_rows("-", options))
    return [
        *(Row({"text": text}, f"#{number}") for number, text in enumerate(texts, 1)),
        *(read_rows(file, options) if file is not None else []),
    ]


def reading_of(request: Request) -> Any:
    """How a command is to read records: by its options, and by settings such as `data.columns.text=body`.

    Raises:
        ConfigError: there is no such setting.
    """
    from trifold.config import from_json, override
    from trifold.tasks.experiment import Reading

    values = request.values
    given = {name: getattr(values, name) for name in ("on_error", "encoding") if getattr(values, name) is not None}
    begun = from_json(Reading, {**request.sections.get("data", {}), **given}, where="data")
    return override(begun, {name.partition(".")[2]: value for name, value in request.overrides.items()}, where="data")


def row_options(request: Request, *, keep_blank: bool = False) -> Any:
    """How a command is to read files with records."""
    from trifold.data import SourceOptions

    reading = reading_of(request)
    return SourceOptions(on_error=reading.on_error, encoding=reading.encoding, keep_blank=keep_blank)


def text_in(row: Any, role: Any, columns: Mapping[str, str] | None = None) -> str:
    """A text of the command line, or what stands in the column that usually plays the role; nothing in a blank row.

    Raises:
        DataError: the file has no such column; says which there are.
    """
    from trifold.tasks.record import Role, find_columns, optional_text

    wanted = Role(role.name, ("text", *role.names))
    return optional_text(row, find_columns([wanted], list(row.values), columns or {}, row.origin)[role.name])


def text_of(row: Any) -> str:
    """The text of the command line, or that in a row's column `text`.

    Raises:
        DataError: it has none.
    """
    from trifold.tasks.record import Role

    return text_in(row, Role("text", ()))


def tuned_for(folder: str, *kinds: str, precision: Any = "float32") -> Any:
    """The fine-tuned model in a folder, with weights of that precision.

    Raises:
        UsageError: it was fine-tuned for another task, or only pre-trained.
        ModelFileError: there is none.
    """
    from trifold.native import keep_memory
    from trifold.tasks import load

    keep_memory()
    loaded = load(folder, precision=precision)
    loaded.require(*kinds)
    return loaded
