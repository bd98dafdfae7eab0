"""Answers to questions about a context as people write them, and where they stand in it."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trifold.data.rows import Row
from trifold.errors import DataError, MissingValueError
from trifold.tasks.label import label_of
from trifold.tasks.literal import opened
from trifold.tasks.record import is_missing, value_of

__all__ = ["Answers", "find_place", "read_answers"]

Answers = tuple[tuple[str, int], ...]
"""Gold answers: text and where it begins in the context, -1 where it does not stand there; none: unanswerable."""
TEXTS, STARTS = ("text", "texts", "answer", "answers"), ("answer_start", "start", "answer_starts", "starts")


def read_answers(
    row: Row, columns: Mapping[str, str], context: str, *, guessed: Callable[[], None] = lambda: None
) -> Answers:
    """The gold answers of a row, each where it stands.

    Args:
        row: with a list of texts or of objects, an object of lists, or one text; or marked as having no answer.
        columns: of the answers, and perhaps of where they begin and of whether there are any.
        context: what they stand in.
        guessed: is told of an answer that stands in several places, and nobody says in which.

    Raises:
        MissingValueError: nothing says what the answer is.
        DataError: the answers have another shape, contradict the mark, or stand nowhere in the context.

    Example:
        >>> row = Row({"answers": {"text": ["Li Na"], "answer_start": ["0"]}}, "a:1")
        >>> read_answers(row, {"answers": "answers"}, "Li Na came home.")
        (('Li Na', 0),)
    """
    impossible = "impossible" in columns and label_of(value_of(row, columns["impossible"])) in ("true", "1")
    cell = opened(row.values.get(columns["answers"], value_of(row, columns["answers"])))
    if is_missing(cell) and not isinstance(cell, str):
        if impossible:
            return ()
        raise MissingValueError("task.missing_value", origin=row.origin, name=columns["answers"])
    starts = value_of(row, columns["start"]) if "start" in columns else None
    pairs = [(text, start) for text, start in _pairs(row, columns["answers"], cell, opened(starts)) if text.strip()]
    if pairs and impossible:
        raise DataError("task.impossible_answer", origin=row.origin, answer=pairs[0][0][:80])
    answers = tuple(_placed(context, text, start, guessed) for text, start in pairs)
    # to take it for unanswerable would teach the model to be silent
    if answers and all(start < 0 for _, start in answers):
        raise DataError("task.answer_elsewhere", origin=row.origin, answer=answers[0][0][:80])
    return answers


def _pairs(row: Row, column: str, cell: Any, starts: Any) -> list[tuple[str, int | None]]:
    """Text and start of each answer."""
    if isinstance(cell, Mapping):
        own = next((cell[name] for name in STARTS if name in cell), starts)
        return _zipped(row, column, next((cell[name] for name in TEXTS if name in cell), None), own)
    if isinstance(cell, list | tuple) and any(isinstance(entry, Mapping) for entry in cell):
        return [pair for entry in cell for pair in _pairs(row, column, entry, None)]
    return _zipped(row, column, cell, starts)


def _zipped(row: Row, column: str, texts: Any, starts: Any) -> list[tuple[str, int | None]]:
    texts = list(texts) if isinstance(texts, list | tuple) else [texts]
    for text in texts:
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise DataError("task.bad_value", origin=row.origin, name=column, given=type(text).__name__)
    if not isinstance(starts, list | tuple):
        starts = [starts] * len(texts) if starts is None or len(texts) == 1 else [starts]
    if len(starts) != len(texts) and len(starts):
        raise DataError("task.answers_differ", origin=row.origin, name=column, texts=len(texts), starts=len(starts))
    places = [_start(row, one) for one in starts] or [None] * len(texts)
    return [(str(text), start) for text, start in zip(texts, places, strict=True)]


def _start(row: Row, value: Any) -> int | None:
    """A number of characters; None where it is not known."""
    if is_missing(value):
        return None
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not number.is_integer():
        raise DataError("task.bad_start", origin=row.origin, given=str(value)[:80])
    return int(number) if number >= 0 else None


def _placed(context: str, text: str, start: int | None, guessed: Callable[[], None]) -> tuple[str, int]:
    """An answer where it stands; white space around it is no part of it where it does not stand there with it."""
    told = text if text in context else text.strip()
    if start is None and context.count(told) > 1:
        guessed()
    return told, find_place(context, told, start)


def find_place(context: str, text: str, start: int | None) -> int:
    """Where a text begins in a context: at `start` counted in characters, UTF-16 units or bytes, else as near as can be.

    Returns:
        -1 where it does not stand there at all; its first place where `start` is None.

    Example:
        >>> find_place("Anna saw Anna.", "Anna", 11), find_place("北京，北京", "北京", 9), find_place("Anna", "Otto", 0)
        (9, 3, -1)
    """
    if start is None:
        return context.find(text)
    for place in _readings(context, start):
        if context.startswith(text, place):
            return place
    places = [one.start() for one in re.finditer(f"(?={re.escape(text)})", context)]
    return min(places, key=lambda place: abs(place - start), default=-1)


def _readings(context: str, start: int) -> Sequence[int]:
    """Characters before the place that `start` may mean."""
    return [
        start,
        *(
            len(context.encode(code)[: start * width].decode(code, "ignore"))
            for code, width in (("utf-16-le", 2), ("utf-8", 1))
        ),
    ]
