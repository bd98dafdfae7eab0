"""Files from outside, opened with care: compressed or not, lines of bounded length, JSON without surprises."""

import codecs
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trifold.errors import DataError, MissingExtraError

__all__ = ["LONGEST_LINE", "open_file", "parse_json", "read_lines", "split_suffix"]

PACKED = {".gz", ".zst"}
LONGEST_LINE = 2**28


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
    """Lines and their numbers, from 1; a byte order mark is dropped.

    Raises:
        DataError: a line is longer than `LONGEST_LINE`.
    """
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise DataError("data.bad_record", path=origin, line=number, column=LONGEST_LINE, problem="line too long")
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def parse_json(text: str) -> Any:
    """JSON in the strict sense: no key twice in one object, no NaN and no infinity.

    Raises:
        ValueError, RecursionError: the text is something else.

    Example:
        >>> parse_json('{"text": "a"}')
        {'text': 'a'}
    """
    return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return record


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
