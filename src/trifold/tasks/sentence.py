"""Sentences and their tags as people write them: lists, lists in writing, words between spaces, one tag a character."""

from collections.abc import Mapping, Sequence
from typing import Any

from trifold.data.rows import Row
from trifold.errors import DataError, MissingValueError
from trifold.tasks.label import label_of
from trifold.tasks.literal import listed
from trifold.tasks.record import value_of
from trifold.tasks.units import cut

__all__ = ["read_sentence", "tags_in", "windows", "words_in"]


def read_sentence(
    row: Row, columns: Mapping[str, str], *, units: str
) -> tuple[tuple[str, ...], tuple[str, ...] | None, str]:
    """The words of a row, its tags where it has a column for them, and the text that the words were cut from, if any.

    Raises:
        MissingValueError: there are none.
        DataError: there are more of the one than of the other, or something that is neither.
    """
    tags = tags_in(row, columns["tags"]) if "tags" in columns else None
    count = None if tags is None else len(tags)
    words, text = words_in(row, columns["tokens"], units=units, count=count)
    if tags is not None and len(tags) != len(words):
        raise DataError("task.tags_differ", origin=row.origin, words=len(words), tags=len(tags))
    return words, tags, text


def words_in(row: Row, column: str, *, units: str, count: int | None = None) -> tuple[tuple[str, ...], str]:
    """The words in a column, and the text that they were cut from; empty where they came as a list.

    Args:
        row: with a list of words, or with a text.
        column: its name.
        units: how to cut a text that has no tags.
        count: how many tags there are; a text is then cut in the way that gives as many units.

    Raises:
        MissingValueError: there are none.
        DataError: there is something that is no word.

    Example:
        >>> words_in(Row({"text": "我爱北京"}, "a:1"), "text", units="spaces", count=4)
        (('我', '爱', '北', '京'), '我爱北京')
    """
    cell = value_of(row, column)
    value = _listed(cell, row, column)
    if isinstance(value, list) and (not isinstance(cell, str) or count in (None, len(value))):
        return tuple(_text(entry, row, column) for entry in value), ""
    text = str(cell)
    ways = [cut(text, units)] if count is None else _ways(text)
    return next((words for words in ways if count in (None, len(words))), ways[0]), text


def _ways(text: str) -> list[tuple[str, ...]]:
    """How a text may be cut, the plainest first."""
    return [cut(text, "spaces"), tuple(text), *(cut(text, units) for units in ("characters", "words", "treebank"))]


def tags_in(row: Row, column: str) -> tuple[str, ...]:
    """The tags in a column: a list, or a text divided by spaces.

    Raises:
        MissingValueError: there are none, or one of them is missing.
        DataError: there is something that is no tag.

    Example:
        >>> tags_in(Row({"tags": "['B-PER', 'O']"}, "a:1"), "tags"), tags_in(Row({"tags": [1, 0]}, "a:1"), "tags")
        (('B-PER', 'O'), ('1', '0'))
    """
    value = _listed(value_of(row, column), row, column)
    parts = value if isinstance(value, list) else str(value).split()
    if any(isinstance(part, list | dict) for part in parts):
        raise DataError("task.tags_are_spans", origin=row.origin, name=column)
    tags = [label_of(part) for part in parts]
    if None in tags:
        raise MissingValueError("task.missing_value", origin=row.origin, name=column)
    return tuple(tag for tag in tags if tag is not None)


def _listed(value: Any, row: Row, column: str) -> Any:
    """A value, where a list that was written out as text is a list again.

    Raises:
        MissingValueError: there is nothing.
        DataError: it is neither a list nor a text.
    """
    value = listed(value)
    if value is None or value == []:
        raise MissingValueError("task.missing_value", origin=row.origin, name=column)
    if not isinstance(value, str | int | float | list):
        raise DataError("task.bad_value", origin=row.origin, name=column, given=type(value).__name__)
    return value


def _text(entry: Any, row: Row, column: str) -> str:
    """One word or tag; a number is written out, 1.0 as 1."""
    if isinstance(entry, float) and entry.is_integer():
        return str(int(entry))
    if entry is None or not isinstance(entry, str | int | float):
        raise DataError("task.bad_value", origin=row.origin, name=column, given=type(entry).__name__)
    return str(entry)


def windows(sizes: Sequence[int], room: int, *, back: bool) -> list[tuple[int, int, int, int]]:
    """Parts of a sentence that each fit, as numbers of words: first and end, and of those that it labels first and end.

    Parts overlap by a quarter, so that words at an edge are labelled where they stand inside.

    Args:
        sizes: tokens of each word, none above `room`.
        room: tokens that fit.
        back: words are labelled from what stands before them alone, so that a part labels all its new words.

    Example:
        >>> windows([1] * 4, 8, back=False), windows([2] * 6, 8, back=False)
        ([(0, 4, 0, 4)], [(0, 4, 0, 3), (3, 6, 3, 6)])
    """
    spans, start, own = [], 0, 0
    while True:
        stop, total = start, 0
        while stop < len(sizes) and total + sizes[stop] <= room:
            total += sizes[stop]
            stop += 1
        if stop == len(sizes):
            return [*spans, (start, stop, own, stop)]
        following, shared = stop, 0
        most = min(room // 4, room - sizes[stop])
        while shared + sizes[following - 1] <= most:
            following -= 1
            shared += sizes[following]
        edge = stop if back else (following + stop) // 2
        spans.append((start, stop, own, edge))
        start, own = following, edge
