"""One file, or standard input, as it is read: how it is opened and decoded, what is done with damage, and what is told.

Damage is one thing everywhere: under `strict` it stops the reading and is named by its place; under `skip` what is
damaged is left out and counted by reason; `replace` does the same, but reads bytes that cannot be decoded as U+FFFD.
"""

import codecs
import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trifold.data.encoding import Recoded, check_encoding, choose_encoding, is_line_safe, recognise
from trifold.data.file import LONE_RETURN, open_file, read_lines, split_suffix
from trifold.data.read_report import ReadReport
from trifold.errors import DataError
from trifold.locale import message

__all__ = ["Line", "ReadReport", "Row", "Source", "SourceOptions"]

SAMPLE = 2**20
"""Bytes of the beginning of a file by which its encoding and its form are judged."""
BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One record.

    Attributes:
        values: by column or key.
        origin: file and line, for messages.
        problem: what is odd about it; empty for a whole one.

    Example:
        >>> Row({"text": "good", "label": 1}, "a.jsonl:1").values["label"]
        1
    """

    values: Mapping[str, Any]
    origin: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How to read.

    Attributes:
        fields: columns or keys to read as running text: one for text, two for a pair; `a|b` is the first that is there.
        document: what one document of a plain-text file is.
        on_error: what is damaged stops the reading, is left out, or has its damaged bytes replaced by U+FFFD.
        encoding: of files that have no byte order mark.
        keep_blank: whether blank lines of a plain file are rows too.
        tagged: whether lines of a plain file may be tokens with their tags (CoNLL) also where the tags look like words.

    Example:
        >>> SourceOptions().fields
        ('text',)
    """

    fields: tuple[str, ...] = ("text",)
    document: Literal["file", "paragraph", "line"] = "file"
    on_error: Literal["strict", "skip", "replace"] = "strict"
    encoding: str = "utf-8"
    tagged: bool = False
    keep_blank: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoding", check_encoding(self.encoding))


class Line(NamedTuple):
    """A decoded line.

    Attributes:
        number: its place in the file, from 1.
        text: with its end.
        damaged: whether some of it could not be decoded, under `skip`.
    """

    number: int
    text: str
    damaged: bool = False


class Source:
    """A file, or standard input, that is being read.

    Args:
        path: the file; None for standard input.
        options: how to read.
        report: is told what was left out.
        origin: its name, for messages; None for that of the file.
        sheet: the sheet of a workbook that is to be read; all or the first where it is empty.

    Attributes:
        sample: the first bytes, once it is open.
        in_items: whether its records are numbered items of a document, not lines.
        lost: the failure of the first line that could not be decoded.

    Example:
        >>> Source(None, SourceOptions(), ReadReport()).origin
        '-'
    """

    def __init__(
        self,
        path: Path | None,
        options: SourceOptions,
        report: ReadReport,
        *,
        origin: str | None = None,
        sheet: str = "",
    ) -> None:
        self.path, self.options, self.report = path, options, report
        self.origin = origin or ("-" if path is None else str(path))
        self.sheet = sheet
        self.sample = b""
        self.lost: DataError | None = None
        self.in_items = self._recoded = self._looked = False

    @property
    def is_packed(self) -> bool:
        """Whether the file is compressed."""
        return self.path is not None and bool(split_suffix(self.path.name)[1])

    def head(self) -> bytes:
        """The first bytes, unpacked."""
        with self._open():
            return self.sample

    def content(self) -> io.BytesIO:
        """All bytes, unpacked, for formats that are read from their end."""
        with self._open() as stream:
            return io.BytesIO(stream.read())

    def lines(self) -> Iterator[Line]:
        r"""Decoded lines with their ends, which are \n, \r\n or a lone \r; a mark at the beginning is dropped.

        Raises:
            DataError: under `strict`, a line that cannot be decoded; in any case one that is too long.
        """
        with self._open() as opened:
            stream, encoding = self._prepare(opened, "strict" if self.options.on_error == "strict" else "replace")
            try:
                for number, line in read_lines(stream, self.origin):
                    text, damaged = self._decode(line, encoding, number)
                    for piece in LONE_RETURN.split(text) if "\r" in text else (text,):
                        yield Line(number, piece, damaged)
            except UnicodeDecodeError as error:  # of a stream that is recoded
                raise self._not_text(error.reason, error.encoding, place=error.start) from None

    def blocks(self) -> Iterator[str]:
        r"""All text, in blocks; line ends become \n, a mark at the beginning is dropped.

        Raises:
            DataError: bytes that cannot be decoded, unless they are to be replaced.
        """
        with self._open() as opened:
            stream, encoding = self._prepare(opened, "replace" if self.options.on_error == "replace" else "strict")
            yield from self._blocks(stream, encoding)

    def damaged(self, number: int, column: int, problem: str, reason: str) -> None:
        """Deal with a damaged record, in a line or an item of that number: refuse it, or count it as left out.

        Raises:
            DataError: under `strict`.
        """
        if self.options.on_error != "strict":
            self.report.reasons[reason] += 1
        elif self.in_items:
            raise DataError("data.bad_item", path=self.origin, number=number, problem=problem)
        else:
            raise DataError("data.bad_record", path=self.origin, line=number, column=column, problem=problem)

    def leave_out(self, reason: str) -> None:
        """Count a record that holds nothing to use."""
        self.report.reasons[reason] += 1

    @contextmanager
    def _open(self) -> Iterator[io.BufferedIOBase]:
        """The unpacked bytes, from the beginning; `sample` is filled in."""
        stream: io.BufferedIOBase = sys.stdin.buffer if self.path is None else open_file(self.path)  # type: ignore[assignment]
        try:
            self.sample = stream.read(SAMPLE)
            yield io.BufferedReader(Rejoined(self.sample, stream), 2**16)  # type: ignore[arg-type]
        finally:
            if self.path is not None:
                stream.close()

    def _prepare(self, stream: io.BufferedIOBase, errors: str) -> tuple[io.BufferedIOBase, str]:
        r"""A stream whose lines end in the byte \n, and how to decode it."""
        encoding = choose_encoding(self.sample, self.options.encoding)
        if encoding not in ("utf-8", "utf-8-sig"):
            self.report.encodings[self.origin] = encoding
        if encoding == "utf-8-sig":
            stream.read(len(codecs.BOM_UTF8))
            encoding = "utf-8"
        if is_line_safe(encoding):
            return stream, encoding
        self._recoded = True
        return io.BufferedReader(Recoded(stream, encoding, errors), 2**16), "utf-8"  # type: ignore[arg-type]

    def _decode(self, line: bytes, encoding: str, number: int) -> tuple[str, bool]:
        """The text of a line, and whether it is damaged and is to be left out."""
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError as error:
            self._note_looks(line)
            self.lost = self.lost or self._not_text(error.reason, encoding, line=number, place=error.start)
            if self.options.on_error == "strict":
                raise self._not_text(error.reason, encoding, line=number, place=error.start) from None
            text = line.decode(encoding, "replace")
        else:
            lost = self._recoded and "\ufffd" in text
            if "\0" not in text and not lost:
                return text, False
            if not lost and self.options.on_error == "strict":
                self._note_looks(line)
                raise self._not_text("NUL", encoding, line=number, place=text.index("\0"))
        if self.options.on_error == "skip":
            return text, True
        text = text.replace("\0", "\ufffd")
        self.report.replaced += text.count("\ufffd")
        return text, False

    def _note_looks(self, piece: bytes) -> None:
        if self._looked:
            return
        self._looked = True
        sample = self.sample if any(byte >= 0x80 or not byte for byte in self.sample) else piece
        looks = recognise(sample)
        if looks is not None:
            self.report.looks.setdefault(self.origin, looks)

    def _not_text(self, problem: str, encoding: str, *, place: int, line: int = 0) -> DataError:
        """The failure of bytes at a place, in the file or in a line of it."""
        looks = self.report.looks.get(self.origin)
        hint = "" if looks in (None, encoding) else message("data.looks_like", name=looks)
        facts = {"path": self.origin, "problem": problem, "encoding": encoding.upper(), "hint": hint}
        if line:
            return DataError("data.bad_bytes", **facts, line=line, column=place + 1)
        return DataError("data.not_text", **facts, place=place)

    def _blocks(self, stream: io.BufferedIOBase, encoding: str) -> Iterator[str]:
        replace = self.options.on_error == "replace"
        decoder = codecs.getincrementaldecoder(encoding)("replace" if replace else "strict")
        place, carried, block = 0, "", b"."
        while block:
            pending = len(decoder.getstate()[0])
            try:
                block = stream.read(BLOCK)
                text = carried + decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                self._note_looks(block)
                raise self._not_text(error.reason, error.encoding, place=place - pending + error.start) from None
            if "\0" in text and not replace:
                self._note_looks(block)
                raise self._not_text("NUL", encoding, place=place + block.find(b"\0"))
            if replace:
                text = text.replace("\0", "\ufffd")
                self.report.replaced += text.count("\ufffd")
            carried = "\r" if block and text.endswith("\r") else ""  # the \n of a \r\n may be in the next block
            text = text.removesuffix("\r") if carried else text
            yield text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
            place += len(block)


class Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already, from its beginning.

    Args:
        head: those bytes.
        rest: where the others come from.

    Example:
        >>> Rejoined(b"ab", io.BytesIO(b"c")).read()
        b'abc'
    """

    def __init__(self, head: bytes, rest: io.BufferedIOBase) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """The next bytes."""
        if not self._head:
            return self._rest.readinto(buffer)
        size = min(len(buffer), len(self._head))
        buffer[:size], self._head = self._head[:size], self._head[size:]
        return size
