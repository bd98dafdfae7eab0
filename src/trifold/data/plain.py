"""Lines of plain files as rows: each a text, or a token with its tags where the file is plainly in columns (CoNLL)."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from trifold.data.nested import is_record, rows_of_line
from trifold.data.reading import Line, Row, Source
from trifold.data.table import take_sample

__all__ = ["are_columns", "read_columns", "read_plain_rows", "read_standard_input"]

TAG = re.compile(r"O|[BIESMLU]([-_]\S+)?")
"""A tag of a span; one letter alone where words are cut."""
HEADS = ("token", "word", "tokens", "words", "form", "text", "char", "character")
TAG_HEADS = ("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "pos_tag", "iob")
UNIVERSAL = ("id", "tokens", "lemmas", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The ten columns of CoNLL-U."""


def read_plain_rows(source: Source) -> Iterator[Row]:
    """A text a line; records where the whole file is JSON lines; sentences where it is in columns."""
    lines = source.lines()
    head = take_sample(lines)
    shown = [line.text for line in head if line.text.strip()]
    if shown and is_record(shown[0]) and 2 * sum(map(is_record, shown)) > len(shown):
        yield from (row for line in chain(head, lines) if line.text.strip() for row in rows_of_line(source, line))
    elif are_columns([line.text for line in head], lenient=source.options.tagged):
        yield from _sentences(source, chain(head, lines))
    else:
        yield from (row for line in chain(head, lines) for row in _text(source, line))


def read_standard_input(source: Source) -> Iterator[Row]:
    """A text a line; a line that is a whole JSON object is a record."""
    for line in source.lines():
        yield from rows_of_line(source, line) if is_record(line.text) else _text(source, line)


def _text(source: Source, line: Line) -> Iterator[Row]:
    if line.damaged:
        source.leave_out("data.left_bytes")
    elif line.text.strip() or source.options.keep_blank:
        yield Row({"text": line.text.rstrip("\r\n")}, f"{source.origin}:{line.number}")
    else:
        source.report.blank += 1


def are_columns(lines: Sequence[str], *, lenient: bool = False) -> bool:
    r"""Whether lines are tokens with tags of spans in their last column; running text never looks like that.

    Args:
        lines: the beginning of a file.
        lenient: tags may be any words, as parts of speech are, if all lines have the same number of columns.

    Example:
        >>> are_columns(["Li B-PER\n", "came O\n"]), are_columns(["O Romeo\n", "Vitamin B\n"])
        (True, False)
    """
    rows = [line.split() for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-"))]
    rows = rows[_are_names(rows[0]) :] if rows else rows
    if not rows or any(len(row) != len(rows[0]) for row in rows) or len(rows[0]) < 2:
        return False
    tags = {row[-1] for row in rows}
    if all(TAG.fullmatch(tag) for tag in tags):
        return lenient or len(rows) > 1
    return lenient and len(rows[0]) <= 5 and any(not line.strip() for line in lines) and len(tags) * 2 < len(rows)


def _are_names(cells: Sequence[str]) -> bool:
    """Whether a first line names the columns."""
    return cells[0].lower() in HEADS and cells[-1].lower() in TAG_HEADS


def read_columns(source: Source) -> Iterator[Row]:
    """Sentences of a CoNLL file: a token a line, its tags in further columns, a blank line after each sentence."""
    return _sentences(source, source.lines())


def _sentences(source: Source, lines: Iterator[Line]) -> Iterator[Row]:
    sentence: list[Line] = []
    names: tuple[str, ...] = ()
    for line in lines:
        if not line.text.strip() or line.text.startswith("-DOCSTART-"):
            yield from _sentence(source, sentence, names)
            sentence = []
        elif not sentence and not names and _are_names(_cells(line.text)):
            names = ("tokens", *(cell.lower() for cell in _cells(line.text)[1:]))
        elif not _is_remark(line.text):
            sentence.append(line)
    yield from _sentence(source, sentence, names)


def _is_remark(text: str) -> bool:
    """`# text = ...`, but not a token `#` with its tag."""
    return text.startswith("#") and not TAG.fullmatch(text.rsplit(maxsplit=1)[-1])


def _cells(text: str) -> list[str]:
    r"""The columns of a line: between tabs where there are any, else between spaces."""
    text = text.rstrip("\r\n")
    return text.split("\t") if "\t" in text else re.split(" +", text.strip(" "))


def _sentence(source: Source, lines: Sequence[Line], names: Sequence[str]) -> Iterator[Row]:
    """The row of a sentence: its tokens, the tags of the last column, and the columns between."""
    if not lines:
        return
    first = lines[0].number
    if any(line.damaged for line in lines):
        source.leave_out("data.left_bytes")
        return
    rows = [_cells(line.text) for line in lines]
    width = Counter(map(len, rows)).most_common(1)[0][0]
    if width == len(UNIVERSAL):
        rows, names = [row for row in rows if row[0].isdecimal()] or rows, UNIVERSAL
    odd = next((place for place, row in enumerate(rows) if len(row) != width), None)
    if odd is not None or width < 2:
        place = odd or 0
        problem = f"{len(rows[place])} columns where the sentence has {width}"
        source.damaged(lines[place].number, 1, problem, "data.left_columns")
        return
    names = names if len(names) == width else ("tokens", *(f"column_{n}" for n in range(2, width)), "tags")
    yield Row(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), f"{source.origin}:{first}")
