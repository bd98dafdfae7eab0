"""Text from files: plain text, jsonl, csv, tsv and parquet, also compressed, in a folder, on standard input or on a hub.

Everything is read in a stream. Long text comes in parts that end at line breaks, so that one huge document costs no more
memory than many small ones.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trifold.data.format import Format
from trifold.data.reading import ReadReport, Row, Source, SourceOptions
from trifold.data.rows import find_sources, fingerprint, list_files, rows_of
from trifold.errors import DataError

__all__ = ["Example", "ReadReport", "SourceOptions", "fingerprint", "list_files", "read"]

SEPARATORS = {"paragraph": re.compile(r"\n\s*\n"), "line": re.compile(r"\n")}
PART_CHARACTERS = 2**16
USUAL = (
    "text",
    "content",
    "body",
    "document",
    "article",
    "passage",
    "sentence",
    "paragraph",
    "raw_content",
    "story",
    "review",
    "comment",
    "正文",
    "内容",
    "文本",
    "文章",
    "评论",
    "评价",
)
"""What the column with the text is called where it is not called `text`, the most telling first."""


@dataclass(frozen=True, slots=True)
class Example:
    """One document, a part of one, or a pair.

    Attributes:
        texts: its text; two for a pair.
        origin: file and line, for messages.
        complete: whether the document ends here.

    Example:
        >>> Example(texts=("Good morning.",)).complete
        True
    """

    texts: tuple[str, ...]
    origin: str = ""
    complete: bool = True


def read(
    paths: Sequence[str], options: SourceOptions | None = None, report: ReadReport | None = None
) -> Iterator[Example]:
    """Documents of all paths, one after another; blank ones are passed over and counted.

    Args:
        paths: files, folders, `-` for standard input, or names of hub data sets (`owner/name`).
        options: how to read.
        report: is filled in as reading goes on.

    Raises:
        DataError: a path that does not exist, an unknown format, or a damaged record under `on_error="strict"`; names
            the file and the line, column or byte.
        MissingExtraError: a format whose library is not installed.

    Example:
        >>> list(read([]))
        []
    """
    options, report = options or SourceOptions(), report or ReadReport()
    begun = False
    for path in paths:
        for example in _read_path(path, options, report):
            if begun or not example.complete or any(text.strip() for text in example.texts):
                begun = not example.complete
                report.documents += example.complete
                yield from _in_parts(example)
            else:
                report.blank += 1


def _in_parts(example: Example) -> Iterator[Example]:
    """A long document in parts; a pair stays whole."""
    first, *other = example.texts
    *early, last = [first] if other else _parts(first)
    yield from (replace(example, texts=(part,), complete=False) for part in early)
    yield replace(example, texts=(last, *other))


def _parts(text: str) -> list[str]:
    """A long text in parts, which end at line breaks where there are any."""
    parts, start = [], 0
    while len(text) - start > 2 * PART_CHARACTERS:
        end = text.rfind("\n", start, start + PART_CHARACTERS) + 1 or start + PART_CHARACTERS
        parts.append(text[start:end])
        start = end
    return [*parts, text[start:]]


def _read_path(path: str, options: SourceOptions, report: ReadReport) -> Iterator[Example]:
    for source, form in find_sources(path, options, report):
        yield from _read_text(source, form) if form.text is not None else _read_fields(source, form)


def _read_text(source: Source, form: Format) -> Iterator[Example]:
    """The documents of a file of running text."""
    assert form.text is not None
    try:
        yield from _cut_plain(form.text(source), source.origin, source.options.document)
    except DataError:
        if source.options.on_error != "skip":
            raise
        source.leave_out("data.left_bytes")
        yield Example(("",), source.origin)  # closes a document that was begun
    except (OSError, EOFError) as error:
        raise DataError("data.unreadable", path=source.origin, problem=str(error) or type(error).__name__) from None


def _cut_plain(blocks: Iterable[str], origin: str, document: str) -> Iterator[Example]:
    separator = SEPARATORS.get(document)
    rest, begun = "", document == "file"
    for block in blocks:
        *whole, rest = separator.split(rest + block) if separator else [rest + block]
        for text in whole:
            if begun or text.strip():
                yield Example((text,), origin)
            begun = False
        *early, rest = _parts(rest)
        yield from (Example((part,), origin, complete=False) for part in early)
        begun = begun or bool(early)
    if begun or rest.strip():
        yield Example((rest,), origin)


def _read_fields(source: Source, form: Format) -> Iterator[Example]:
    """The texts in some columns of a table; which ones is told, and which were not read."""
    names: tuple[str, ...] = ()
    for row in rows_of(source, form):
        names = names or _choose_fields(row.values, source)
        unknown = row.values.keys() - {*names, *source.report.unused.get(source.origin, ())}
        if unknown:
            others = [name for name in row.values if name in unknown]
            source.report.unused[source.origin] = (*source.report.unused.get(source.origin, ()), *others)
        try:
            yield Example(_texts(row, names), row.origin)
        except TypeError as error:
            place = re.match(r":(\d+)", row.origin.removeprefix(source.origin))
            source.damaged(int(place[1]) if place else 1, 1, str(error), "data.left_field")


def _choose_fields(values: Mapping[str, Any], source: Source) -> tuple[str, ...]:
    """The columns to read: those that were asked for, by the first of the names in `a|b|c` that is there.

    Raises:
        DataError: a table has none of them.
    """
    wanted = source.options.fields
    if wanted == ("text",) and "text" not in values:
        wanted = ("|".join(USUAL),)
    chosen = tuple(next((one for one in name.split("|") if one in values), name) for name in wanted)
    for name, asked in zip(chosen, source.options.fields, strict=True):
        if name not in values:
            raise DataError("data.no_column", path=source.origin, given=asked, known=", ".join(values)[:300])
    source.report.texts[source.origin] = chosen
    return chosen


def _texts(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    if row.problem:
        raise TypeError(row.problem)
    missing = [name for name in names if name not in row.values]
    if missing:
        raise TypeError(f"no field {missing[0]!r}")
    for name in names:
        if not isinstance(row.values[name], str):
            raise TypeError(f"field {name!r} is {type(row.values[name]).__name__}, not a string")
    return tuple(row.values[name] for name in names)
