"""Lists and objects that somebody wrote out as text, read back: in JSON, in Python's spelling, in numpy's."""

import ast
import io
import json
import re
import tokenize
from collections.abc import Callable
from itertools import pairwise
from typing import Any

__all__ = ["listed", "opened"]

ARRAY = re.compile(r"array\((\[.*?\])(?:,\s*dtype=[\w<>.']+)?\)", re.DOTALL)
"""A list as numpy writes it inside a dictionary, as pandas exports the SQuAD of the hub."""
NUMBER = re.compile(r"-?\d+\.?0*")


def opened(value: Any) -> Any:
    """A list or an object that was written out as text as what it was; everything else as it is, tuples as lists.

    Example:
        >>> opened("['a' 'b']"), opened("[0. 1.]"), opened('{"text": ["a"]}'), opened("a [b]")
        (['a', 'b'], ['0', '1'], {'text': ['a']}, 'a [b]')
    """
    if not isinstance(value, str):
        return list(value) if isinstance(value, tuple) else value
    text = value.strip()
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return value
    readers: tuple[Callable[[str], Any], ...] = (json.loads, _python, _with_arrays, _numbers)
    for read in readers:
        try:
            parsed = read(text)
        except (ValueError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
            continue
        return parsed if isinstance(parsed, list | dict) else value
    return value


def listed(value: Any) -> Any:
    """The same of lists alone: an object in writing stays a text.

    Example:
        >>> listed("['a', 'b']"), listed('{"a": 1}'), listed(("a", "b"))
        (['a', 'b'], '{"a": 1}', ['a', 'b'])
    """
    return value if isinstance(value, str) and value.strip()[:1] == "{" else opened(value)


def _python(text: str) -> Any:
    return ast.literal_eval(_divided(text))


def _with_arrays(text: str) -> Any:
    """What Python cannot read, for there are numpy's lists in it."""
    return _python(ARRAY.sub(r"\1", text))


def _divided(text: str) -> str:
    """The text with a comma between texts that follow each other, as numpy writes them: Python would read them as one."""
    lines = io.StringIO(text).readlines()
    tokens = [token for token in tokenize.generate_tokens(iter(lines).__next__) if token.type != tokenize.NL]
    for token, following in reversed(list(pairwise(tokens))):
        if token.type == following.type == tokenize.STRING:
            row, column = token.end
            lines[row - 1] = f"{lines[row - 1][:column]},{lines[row - 1][column:]}"
    return "".join(lines)


def _numbers(text: str) -> list[str]:
    """Whole numbers between spaces.

    Raises:
        ValueError: there is something else.
    """
    parts = text[1:-1].split()
    if text[0] != "[" or not all(map(NUMBER.fullmatch, parts)):
        raise ValueError(text)
    return [part.partition(".")[0] for part in parts]
