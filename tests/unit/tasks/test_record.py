"""Each column is read or named, each row is used or counted."""

import pytest

from trifold.data.rows import Row
from trifold.errors import ConfigError, DataError, MissingValueError
from trifold.task_kinds import config_class
from trifold.tasks.account import Account, Count
from trifold.tasks.record import Record, check_roles, find_columns, make_records, place_rows, text_of, value_of


def rows_in(file: str, *values: dict) -> list[Row]:
    return [Row(one, f"{file}:{number}") for number, one in enumerate(values, 1)]


@pytest.mark.parametrize(("kind", "values", "wanted"), [
    ("classification", [{"sentence1": "a", "label": "x"}, {"sentence1": "b", "sentence2": "c", "label": "y"}],
     {"text": "sentence1", "text_pair": "sentence2", "label": "label"}),
    ("classification", [{"question": "a?", "sentence": "b", "label": 1}],
     {"text": "question", "text_pair": "sentence", "label": "label"}),
    ("classification", [{"question": "a?", "label": 1}], {"text": "question", "label": "label"}),
    ("classification", [{"Text": "a", " LABEL ": 1}], {"text": "Text", "label": " LABEL "}),
    ("classification", [{"text": "a", "label": 1}, {"sentence": "b", "label": 0}],
     {"text": "text|sentence", "label": "label"}),
    ("classification", [{"title": "a", "label": 1}], {"text": "title", "label": "label"}),
    ("classification", [{"text": "a", "text_pair": None, "label": 1}], {"text": "text", "label": "label"}),
    ("translation", [{"src": "a", "tgt": "b", "id": 3}], {"source": "src", "target": "tgt"}),
    ("span_qa", [{"query": "a?", "context": "b", "answers": []}],
     {"question": "query", "context": "context", "answers": "answers"}),
])  # fmt: skip
def test_columns_are_found_among_all_that_any_row_has(kind, values, wanted):
    ((_, found), *others) = place_rows(rows_in("a.jsonl", *values), config_class(kind).roles, {})
    assert found == wanted and all(columns == found for _, columns in others)


@pytest.mark.parametrize(("values", "given", "says"), [
    ({"title": "a", "content": "b", "label": 1}, {}, ["title, content", "data.columns.text=title+content"]),
    ({"headline": "a", "body": "b", "label": 1}, {}, ["headline, body", "data.columns.text=body"]),
    ({"words": "a", "label": 1}, {}, ["words, label", "data.columns.text=COLUMN"]),
    ({"text": "a", "label": 1}, {"text": "body"}, ["'body'", "text, label"]),
    ({"text": "a", "label": 1}, {"label": ""}, ["'label'"]),
])  # fmt: skip
def test_what_is_not_clear_is_refused_with_the_names_and_what_mends_it(values, given, says):
    with pytest.raises(DataError) as error:
        place_rows(rows_in("a.jsonl", values), config_class("classification").roles, given)
    assert all(one in str(error.value) for one in says)


def test_columns_of_another_task_are_refused():
    with pytest.raises(ConfigError, match="source"):
        check_roles(config_class("translation").roles, {"text": "a"})


def test_each_file_has_columns_of_its_own_and_what_nobody_reads_is_named():
    account = Account()
    rows = [*rows_in("a.jsonl", {"text": "a", "label": 1, "id": 7}), *rows_in("b.csv", {"review": "b", "sentiment": 0})]
    place_rows(rows, config_class("classification").roles, {}, account=account)
    assert account.columns == {"a.jsonl": {"text": "text", "label": "label"},
                               "b.csv": {"text": "review", "label": "sentiment"}}  # fmt: skip
    assert account.unread == {"a.jsonl": ("id",), "b.csv": ()}
    assert account.column_lines()[0] == "a.jsonl: columns: text = text, label = label; not used: id"


def test_a_missing_value_is_counted_under_every_rule_and_a_damaged_one_stops_where_the_rule_is_strict():
    rows = rows_in("a.jsonl", {"text": "a", "label": "x"}, {"text": " ", "label": "x"}, {"text": None, "label": "x"},
                   {"label": "x"}, {"text": ["a"], "label": "x"}, {"text": float("nan"), "label": "x"})  # fmt: skip

    def make(row: Row, columns) -> Record:
        return Record((text_of(row, columns["text"]),), row.values["label"], row.origin)

    placed = [(row, {"text": "text"}) for row in rows]
    with pytest.raises(DataError, match=r"a\.jsonl:5.*'text' is list"):
        make_records(placed, make)
    for rule in ("skip", "replace"):
        count = Count()
        assert len(make_records(placed, make, on_error=rule, count=count)) == 1
        assert (count.rows, count.used, count.skipped) == (6, 1, 5) and count.complete
        assert count.reasons == "text missing 3, empty text 1, unreadable text 1"


def test_joined_and_alternative_columns_are_read_row_by_row():
    whole, half = Row({"a": "x", "b": "y"}, "f:1"), Row({"a": None, "b": "y", "c": 3}, "f:2")
    assert [value_of(row, "a+b") for row in (whole, half)] == ["x y", "y"]
    assert [value_of(row, "a|c") for row in (whole, half)] == ["x", 3]
    with pytest.raises(MissingValueError):
        text_of(half, "a+d")
    assert value_of(Row({"a+b": "as it is"}, "f:1"), "a+b") == "as it is"


def test_a_prompt_is_never_empty_because_its_column_has_another_name():
    roles = config_class("generation").roles
    header, rows = ["ask", "output"], rows_in("a.jsonl", {"ask": "what?", "output": "that"})
    with pytest.raises(DataError, match=r"ask.*data\.columns\.prompt=ask"):
        find_columns(roles, header, {}, "a.jsonl", rows=rows)
    assert find_columns(roles, header, {"prompt": "ask"}, "a.jsonl", rows=rows)["prompt"] == "ask"
    assert "prompt" not in find_columns(roles, header, {"prompt": ""}, "a.jsonl", rows=rows)
    plain = rows_in("a.jsonl", {"text": "once", "note": "x"})
    assert "prompt" not in find_columns(roles, ["text", "note"], {}, "a.jsonl", rows=plain)
