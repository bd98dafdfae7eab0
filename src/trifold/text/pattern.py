"""Regular expressions in tokenizer files: those that may take time beyond all bounds are refused before they are used."""

from collections.abc import Iterator
from typing import Any

__all__ = ["cuts", "patterns_in", "require_bounded"]

HAN = r"\p{Han}"
REST = (
    rf"| ?[\p{{L}}\p{{M}}&&[^{HAN}]]{{1,64}}"
    r"| ?\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{M}\p{N}]{1,16}"
    r"|\s{0,31}[\r\n]|\s{1,31}(?!\S)|\s"
)
"""What a token may not reach across, beside runs of Chinese. Every part is bounded, so that no text makes encoding slow."""

LONGEST = 10_000


def patterns_in(data: Any) -> Iterator[str]:
    """Every regular expression in the data of a `tokenizer.json`.

    Example:
        >>> list(patterns_in({"pre_tokenizer": {"pattern": {"Regex": "a+"}}}))
        ['a+']
    """
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        if key == "Regex" and isinstance(value, str):
            yield value
        elif key != "vocab":
            yield from patterns_in(value)


def require_bounded(pattern: str) -> None:
    """Refuse a pattern that repeats a group without limit in which something repeats or has alternatives.

    Such a group can match one text in exponentially many ways, all of which a backtracking matcher tries. The patterns of
    published tokenizers have none.

    Raises:
        ValueError: it has one; names the pattern.

    Example:
        >>> require_bounded("[a-z]+| ?[^ ]+")
    """
    if len(pattern) > LONGEST or _repeats_badly(pattern):
        raise ValueError(f"the pattern {pattern[:80]!r} may take time without bound")


def _repeats_badly(pattern: str) -> bool:
    open_groups: list[bool] = []
    closed = in_class = False
    for place, sign in _signs(pattern):
        unbounded = sign in "+*" or (sign == "{" and pattern[place : place + 12].partition("}")[0].endswith(","))
        in_class = (in_class or sign == "[") and sign != "]"
        if in_class:
            continue
        if unbounded and closed:
            return True
        if sign == "(":
            open_groups.append(False)
        elif open_groups and (unbounded or sign == "|"):
            open_groups[-1] = True
        closed = False
        if sign == ")" and open_groups:
            closed = open_groups.pop()
            if open_groups:
                open_groups[-1] = open_groups[-1] or closed
    return False


def _signs(pattern: str) -> Iterator[tuple[int, str]]:
    """Each sign with its place; a backslash and what it covers are one."""
    place = 0
    while place < len(pattern):
        yield place, pattern[place]
        place += 2 if pattern[place] == "\\" else 1


def cuts(han: int) -> str:
    """The pattern by which our own tokenizers cut a text into words, with so many Chinese characters at most in one.

    Example:
        >>> cuts(8)[7:14]
        '{1,8}| '
    """
    return f"{HAN}{{1,{han}}}{REST}"
