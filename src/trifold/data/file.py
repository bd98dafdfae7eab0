"""Files from outside, opened with care: compressed or not, lines of bounded length, JSON without surprises."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trifold.errors import DataError, MissingExtraError

__all__ = [
    "LONE_RETURN",
    "LONGEST_LINE",
    "no_constant",
    "no_duplicates",
    "open_file",
    "parse_json",
    "read_lines",
    "split_suffix",
]

PACKED = {".gz", ".zst"}
LONGEST_LINE = 2**28
LONE_RETURN = re.compile(r"(?<=\r)(?!\n|$)")


def split_suffix(name: str) -> tuple[str, str]:
    """The format's suffix and that of its compression, in lower case.

    Example:
        >>> split_suffix("notes.JSONL.gz")
        ('.jsonl', '.gz')
    """
    suffixes = [part.lower() for part in Path(name).suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in PACKED else ""
    return (suffixes[-1] if suffixes else "", packed)


def open_file(path: Path) -> io.BufferedIOBase:
    """The bytes of a file, unpacked where its name says that it is packed.

    Raises:
        MissingExtraError: the library for its compression is not installed.
        OSError: it cannot be opened.
    """
    packed = split_suffix(path.name)[1]
    if packed == ".gz":
        import gzip

        return gzip.open(path, "rb")  # type: ignore[return-value]
    if packed == ".zst":
        try:
            import zstandard
        except ImportError:
            raise MissingExtraError("data.needs_extra", path=path, library="zstandard", extra="data") from None
        return io.BufferedReader(zstandard.open(path, "rb"))  # type: ignore[arg-type]
    return path.open("rb")


def read_lines(stream: io.BufferedIOBase, origin: str) -> Iterator[tuple[int, bytes]]:
    """Lines and their numbers, from 1.

    Raises:
        DataError: a line is longer than `LONGEST_LINE`.
    """
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise DataError("data.bad_record", path=origin, line=number, column=LONGEST_LINE, problem="line too long")
        yield number, line


def parse_json(text: str) -> Any:
    """JSON in the strict sense: no key twice in one object, no NaN and no infinity.

    Raises:
        ValueError, RecursionError: the text is something else.

    Example:
        >>> parse_json('{"text": "a"}')
        {'text': 'a'}
    """
    return json.loads(text.rstrip("\r\n"), object_pairs_hook=no_duplicates, parse_constant=no_constant)


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        ValueError: a key stands twice in it.

    Example:
        >>> no_duplicates([("a", 1)])
        {'a': 1}
    """
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return record


def no_constant(name: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")
