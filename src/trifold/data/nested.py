"""JSON: lines of objects, arrays, envelopes around rows, and the nesting in which question answering is published."""

import json
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from trifold.data.file import LONGEST_LINE, no_constant, no_duplicates, parse_json
from trifold.data.reading import Line, Row, Source
from trifold.errors import DataError

__all__ = ["expand", "is_record", "read_json", "read_json_lines", "rows_of_line"]

ALIASES = {"context_text": "context", "context_id": "id", "query_text": "question", "query_id": "id"}
"""Other names for the same things, as the first CMRC was published."""


def read_json_lines(source: Source) -> Iterator[Row]:
    """Rows of a file with one object a line."""
    for line in source.lines():
        if line.text.strip():
            yield from rows_of_line(source, line)


def rows_of_line(source: Source, line: Line) -> Iterator[Row]:
    """The rows of one line: one, or all questions of a nested record.

    Raises:
        DataError: under `strict`, it is damaged.
    """
    if line.damaged:
        source.leave_out("data.left_bytes")
        return
    try:
        record = parse_json(line.text)
        if "\\u" in line.text:
            record = _without_surrogates(record, source)
        yield from expand(source, record, f"{source.origin}:{line.number}")
    except (ValueError, RecursionError, TypeError) as error:
        place, problem = _place(error)
        source.damaged(line.number, place, problem, "data.left_json")


def _place(error: Exception) -> tuple[int, str]:
    """The column that an error names, and what it says."""
    if isinstance(error, RecursionError):
        return 1, "nested too deeply"
    return getattr(error, "colno", 1), str(getattr(error, "msg", error))[:200]


def is_record(text: str) -> bool:
    """Whether a line is one whole JSON object.

    Example:
        >>> is_record('{"text": "a"}'), is_record("{name} was kind to me")
        (True, False)
    """
    try:
        return text.lstrip().startswith("{") and isinstance(parse_json(text), dict)
    except (ValueError, RecursionError):
        return False


def expand(source: Source, record: Any, origin: str) -> Iterator[Row]:
    """The rows in a record: itself, or each question of an article with paragraphs, or of a paragraph with questions.

    Raises:
        TypeError: it is no object, or its nesting is not as published.
    """
    if isinstance(record, str):
        record = {"text": record}
    if not isinstance(record, Mapping):
        raise TypeError(f"{type(record).__name__} where an object was expected")
    if _holds_objects(record, "paragraphs"):
        above = {"title": record["title"]} if "title" in record else {}
        for number, paragraph in enumerate(record["paragraphs"], start=1):
            yield from _questions(source, {**above, **_mapping(paragraph)}, f"{origin}#{number}.")
    elif _holds_objects(record, "qas"):
        yield from _questions(source, record, f"{origin}#")
    else:
        yield Row(record, origin)


def _holds_objects(record: Mapping[str, Any], key: str) -> bool:
    value = record.get(key)
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} where an object was expected")
    return value


def _questions(source: Source, paragraph: Mapping[str, Any], origin: str) -> Iterator[Row]:
    renamed = {ALIASES.get(key, key): value for key, value in paragraph.items() if key != "qas"}
    context = renamed.get("context")
    if not isinstance(context, str):
        raise TypeError("a paragraph without 'context'")
    above = {"title": renamed["title"]} if "title" in renamed else {}
    questions = paragraph.get("qas") or []
    if not questions:
        source.leave_out("data.left_no_question")
    for number, question in enumerate(questions, start=1):
        own = {ALIASES.get(key, key): value for key, value in _mapping(question).items()}
        head = {"id": own.pop("id")} if "id" in own else {}
        yield Row({**head, **above, "context": context, **own}, f"{origin}{number}")


def read_json(source: Source) -> Iterator[Row]:
    """Rows of a JSON document: an array, an envelope around one, columns, or one object a line after all."""
    begins = next((block.lstrip()[:1] for block in source.blocks() if block.strip()), "")
    source.in_items = True
    if begins == "[":
        yield from (row for number, item in enumerate(_Array(source), 1) for row in _rows_of_item(source, item, number))
    elif begins:
        lines = (line for line in source.lines() if line.text.strip())
        head = list(islice(lines, 2))
        if len(head) == 2 and is_record(head[0].text):
            source.in_items = False
            yield from (row for line in chain(head, lines) for row in rows_of_line(source, line))
            return
        lines.close()
        items = enumerate(_rows_in(_whole(source), source), 1)
        yield from (row for number, item in items for row in _rows_of_item(source, item, number))


def _rows_of_item(source: Source, item: Any, number: int) -> Iterator[Row]:
    """The rows of the n-th item of a document."""
    try:
        yield from expand(source, _without_surrogates(item, source), f"{source.origin}:{number}")
    except (TypeError, ValueError) as error:
        source.damaged(number, 1, str(error), "data.left_json")


def _without_surrogates(record: Any, source: Source) -> Any:
    """A record whose texts can be written in UTF-8: halves of characters are refused, or replaced where that is asked.

    Raises:
        ValueError: it has such halves.
    """
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if source.options.on_error != "replace":
            raise ValueError("half of a surrogate pair") from error
        source.report.replaced += 1
        return json.loads(text.encode("utf-8", "replace"))
    return record


def _whole(source: Source) -> Any:
    text = "".join(source.blocks())
    if len(text) > LONGEST_LINE:
        raise DataError("data.bad_json", path=source.origin, line=1, column=1, problem="too long; use JSON lines")
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        column, problem = _place(error)
        line = getattr(error, "lineno", 1)
        raise DataError("data.bad_json", path=source.origin, line=line, column=column, problem=problem) from None


class _Array:
    """A JSON array in blocks of text, one item after another."""

    def __init__(self, source: Source) -> None:
        self._source, self._blocks = source, source.blocks()
        self._text, self._place, self._lines = "", 0, 0

    def __iter__(self) -> Iterator[Any]:
        decoder = json.JSONDecoder(object_pairs_hook=no_duplicates, parse_constant=no_constant)
        self._expect("[")
        if self._next_sign() == "]":
            self._place += 1
        else:
            yield self._item(decoder)
            while self._expect(",]") == ",":
                yield self._item(decoder)
        if self._next_sign():
            raise self._bad("text after the end of the array")

    def _more(self) -> bool:
        """Read on; what was dealt with is let go. The longer what is at hand, the more is read at once."""
        self._lines += self._text.count("\n", 0, self._place)
        kept, blocks = self._text[self._place :], []
        while sum(map(len, blocks)) <= len(kept):
            block = next(self._blocks, None)
            if block is None:
                break
            blocks.append(block)
        self._text, self._place = kept + "".join(blocks), 0
        if len(self._text) > LONGEST_LINE:
            raise self._bad("an item is too long")
        return any(blocks)

    def _next_sign(self) -> str:
        while True:
            while self._place < len(self._text) and self._text[self._place] in " \t\r\n":
                self._place += 1
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def _expect(self, signs: str) -> str:
        sign = self._next_sign()
        if not sign or sign not in signs:
            raise self._bad(f"expecting {' or '.join(map(repr, signs))}")
        self._place += 1
        return sign

    def _item(self, decoder: json.JSONDecoder) -> Any:
        self._next_sign()
        while True:
            try:
                item, end = decoder.raw_decode(self._text, self._place)
            except (ValueError, RecursionError) as error:
                if not (self._is_cut_off(error) and self._more()):
                    raise self._bad(_place(error)[1]) from None
            else:
                if end < len(self._text) or not self._more():  # a number may go on in the next block
                    self._place = end
                    return item

    def _is_cut_off(self, error: Exception) -> bool:
        """Whether an item may be damaged only because it goes on in the next block."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.pos > len(self._text) - 16 or error.msg.startswith("Unterminated")

    def _bad(self, problem: str) -> DataError:
        line = self._lines + self._text.count("\n", 0, self._place) + 1
        column = self._place - (self._text.rfind("\n", 0, self._place) + 1) + 1
        return DataError("data.bad_json", path=self._source.origin, line=line, column=column, problem=problem)


def _rows_in(document: Any, source: Source) -> Iterator[Any]:
    """What a document is a list of.

    Raises:
        DataError: it holds several lists, and nothing says which is meant.
    """
    if not isinstance(document, dict) or _holds_objects(document, "paragraphs") or _holds_objects(document, "qas"):
        return iter([document])
    if isinstance(document.get("columns"), list) and isinstance(document.get("data"), list):  # pandas' orient="split"
        return (dict(zip(document["columns"], row, strict=False)) for row in document["data"])
    empty = [key for key, value in document.items() if value == []]
    lists = [key for key in document if _holds_objects(document, key) and key not in empty]
    if not lists and 0 < len(empty) < len(document):
        return iter([])
    if len(lists) > 1:
        raise DataError("data.several_lists", path=source.origin, given=", ".join(lists)[:300])
    if lists:
        wrapped = document[lists[0]]
        return iter([one["row"] if set(one) >= {"row", "row_idx"} else one for one in wrapped])
    return _rows_of_columns(document)


def _rows_of_columns(document: dict[str, Any]) -> Iterator[Any]:
    """Rows of a table that is written column by column or, by their names, row by row; else one row."""
    values = list(document.values())
    if values and all(isinstance(value, dict) for value in values):
        if all(key.isdecimal() for key in document):  # pandas' orient="index"
            return iter(values)
        places = dict.fromkeys(key for value in values for key in value)
        return ({name: value.get(place) for name, value in document.items()} for place in places)
    if values and all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1:
        return (dict(zip(document, row, strict=True)) for row in zip(*values, strict=True))
    return iter([document])
