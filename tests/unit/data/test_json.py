"""JSON as it is published and as it breaks: the rows that are meant, or the place and what is wrong there."""

import json

import pytest

from trifold.data import ReadReport, SourceOptions
from trifold.data import nested as nested_module
from trifold.data import reading as reading_module
from trifold.data.rows import read_rows
from trifold.errors import DataError


def put(place, content):
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def values(path, **options) -> list[dict]:
    return [dict(row.values) for row in read_rows(path, SourceOptions(**options))]


ASKED = {"context": "Li came.", "qas": [{"id": "1", "question": "who?"}]}
ROW = {"id": "1", "context": "Li came.", "question": "who?"}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        (" \n\n", []),
        ("[]", []),
        ("\n[\n]\n", []),
        ('{"version": 1, "data": []}', []),
        ('{"text": "one", "label": "a"}', [{"text": "one", "label": "a"}]),
        ('{\n"text": "one",\n"labels": ["a", "b"]}', [{"text": "one", "labels": ["a", "b"]}]),
        ('"only text"', [{"text": "only text"}]),
        (json.dumps(ASKED, indent=1), [ROW]),
        (json.dumps({"title": "t", "paragraphs": [ASKED]}), [{**ROW, "title": "t"}]),
    ],
)
def test_a_document_is_the_rows_that_it_holds(tmp_path, text, rows):
    assert values(put(tmp_path / "a.json", text)) == rows


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ('[{"a": 1} {"a": 2}]', "bad_json", {"line": 1, "column": 11, "problem": "expecting ',' or ']'"}),
        ('[{"a": 1},\n{"a": 2}\n', "bad_json", {"line": 3, "column": 1, "problem": "expecting ',' or ']'"}),
        ('[\n{"a": 1, "a": 2}]', "bad_json", {"line": 2, "column": 1, "problem": "a key stands twice in one object"}),
        ('[\n {"a": NaN}]', "bad_json", {"line": 2, "column": 2, "problem": "NaN is not JSON"}),
        ("[[" + "[" * 100_000, "bad_json", {"line": 1, "column": 2, "problem": "nested too deeply"}),
        ('{"a": 1,\n "a": 2}', "bad_json", {"line": 1, "column": 1, "problem": "a key stands twice in one object"}),
        ("5", "bad_item", {"number": 1, "problem": "int where an object was expected"}),
        ('[{"paragraphs": [{"context": "c", "qas": [{}, "who?"]}]}]', "bad_item",
         {"number": 1, "problem": "str where an object was expected"}),
        ('[{}, {"paragraphs": [{"qas": [{"id": "1"}]}]}]', "bad_item",
         {"number": 2, "problem": "a paragraph without 'context'"}),
        ('{"context": 5, "qas": [{"id": "1"}]}', "bad_item", {"number": 1, "problem": "a paragraph without 'context'"}),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_document_is_said_with_its_place(tmp_path, text, code, said):
    path = put(tmp_path / "a.json", text)
    with pytest.raises(DataError) as caught:
        values(path)
    assert caught.value.code == f"data.{code}" and caught.value.values == {"path": str(path), **said}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a":\n"' + "x" * 100 + '"}', "too long; use JSON lines"),
        ('["' + "x" * 100 + '"]', "an item is too long"),
    ],
)
def test_a_document_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, text, problem):
    path = put(tmp_path / "a.json", text)
    assert len(values(path)) == 1
    monkeypatch.setattr(nested_module, "LONGEST_LINE", 99)
    with pytest.raises(DataError) as caught:
        values(path)
    assert caught.value.code == "data.bad_json" and caught.value.values["problem"] == problem


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 2**20])
def test_an_array_is_the_same_wherever_its_blocks_end(tmp_path, monkeypatch, size):
    monkeypatch.setattr(reading_module, "BLOCK", size)
    path, report = put(tmp_path / "a.json", '[{"a": 1},\n12345, {"b": [true, -2.5e3]}, "text, 一"\n]\n'), ReadReport()
    rows = [row.values for row in read_rows(path, SourceOptions(on_error="skip"), report)]
    assert rows == [{"a": 1}, {"b": [True, -2500.0]}, {"text": "text, 一"}]
    assert dict(report.reasons) == {"data.left_json": 1}  # the number is one item, however it comes
