"""Options in messages: as the command line writes them, or as Python does, by where the message is read.

The catalogue writes `--resume` and `--on-error skip`. Whoever calls the library reads `resume=True` and `on_error="skip"`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["in_python", "name_option", "on_command_line", "spoken"]

PYTHON = {
    "--allow-change {options}": 'allow="{options}".split()',
    "--allow-change": "allow",
    "--batch-size": "training.batch_size",
    "--dev": "data.dev",
    "--embedder RUN": "embedder=load(RUN)",
    "--embedder 目录": "embedder=load(目录)",
    "--help": "help()",
    "--label-names O B-PER I-PER": 'task.label_names=("O", "B-PER", "I-PER")',
    "--label-names": "task.label_names",
    "--length": "training.length",
    "--parallel": "training.parallel",
    "--preset": "model.preset",
    "--resume": "resume=True",
    "--size": "model.size",
    "--test": "data.test",
}
"""What Python calls otherwise: the other options keep their name, with underlines."""
VALUES = r" (?:skip|replace|true|fsdp|go_on|left|right|float32|byte_bpe|\{name\})(?![\w-])"
OPTION = re.compile(
    r"(?P<command>trifold [a-z][^;；。`]*)"
    + "|".join(["", *(f"(?:{re.escape(known)}(?![a-z_-]))(?!{VALUES})" for known in sorted(PYTHON, reverse=True))])
    + rf"|--(?P<name>[a-z][a-z0-9_-]*(?:\.[a-z0-9_]+)*)(?P<value>{VALUES})?"
)

_on_command_line = False


@contextmanager
def on_command_line() -> Iterator[None]:
    """While it lasts, messages name options as the command line does.

    Example:
        >>> with on_command_line():
        ...     name_option("batch-size")
        '--batch-size'
    """
    global _on_command_line  # noqa: PLW0603 - of the process: its threads speak to the same person
    before, _on_command_line = _on_command_line, True
    try:
        yield
    finally:
        _on_command_line = before


def name_option(name: str) -> str:
    """What an option is called where the message is read.

    Example:
        >>> name_option("max-tokens")
        'max_tokens'
    """
    return spoken(f"--{name}")


def spoken(text: str) -> str:
    """A text of the catalogue with its options as they are called where it is read.

    Example:
        >>> spoken("Go on with --resume and --training.on_bad_step skip.")
        'Go on with resume=True and training.on_bad_step="skip".'
    """
    return text if _on_command_line else in_python(text)


def in_python(text: str) -> str:
    """A text of the catalogue with its options as Python writes them; whole commands stay commands.

    Example:
        >>> in_python("Make one with: trifold index build FOLDER --out {path}")
        'Make one with: trifold index build FOLDER --out {path}'
    """
    return OPTION.sub(_rewrite, text)


def _rewrite(match: re.Match[str]) -> str:
    if match["command"] or not match["name"]:
        return match["command"] or PYTHON[match[0]]
    name = PYTHON.get(f"--{match['name']}", match["name"].replace("-", "_"))
    value = (match["value"] or "").strip()
    return f"{name}={'True' if value == 'true' else chr(34) + value + chr(34)}" if value else name
