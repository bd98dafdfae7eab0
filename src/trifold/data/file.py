"""Files from outside, opened with care: compressed or not, lines of bounded length, JSON without surprises."""

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trifold.errors import DataError, MissingExtraError

__all__ = ["LONGEST_LINE", "bad_line", "decode_lines", "open_file", "parse_json", "read_lines", "split_suffix"]

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


def decode_lines(stream: io.BufferedIOBase, origin: str, errors: str = "strict") -> Iterator[str]:
    r"""Lines as text with their ends, which are \n, \r\n or a lone \r.

    Raises:
        DataError: a line is too long, or is no UTF-8; names it and the byte.
    """
    for number, line in read_lines(stream, origin):
        try:
            yield from LONE_RETURN.split(line.decode("utf-8", errors))
        except UnicodeDecodeError as error:
            raise bad_line(origin, number, error) from None


def bad_line(origin: str, line: int, error: Exception) -> DataError:
    """The failure of a line in our words, with its column where the error says it."""
    column = getattr(error, "colno", getattr(error, "start", 0) + 1)
    said = str(getattr(error, "msg", getattr(error, "reason", error)))[:200]
    problem = "nested too deeply" if isinstance(error, RecursionError) else said
    return DataError("data.bad_record", path=origin, line=line, column=column, problem=problem)


def parse_json(text: str) -> Any:
    """JSON in the strict sense: no key twice in one object, no NaN and no infinity.

    Raises:
        ValueError, RecursionError: the text is something else.

    Example:
        >>> parse_json('{"text": "a"}')
        {'text': 'a'}
    """
    return json.loads(text.rstrip("\r\n"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return record


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
