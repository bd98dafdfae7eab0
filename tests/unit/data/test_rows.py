"""Labelled data from outside: rows as they stand in the file, and every damage named by its line."""

import gzip
import io
import sys

import pytest

from trifold.data import file as file_module
from trifold.data.rows import file_digest, read_rows
from trifold.errors import DataError, MissingExtraError


def values(path) -> list[dict]:
    return [dict(row.values) for row in read_rows(path)]


def write(tmp_path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def test_every_format_gives_the_same_rows(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    wanted = [{"text": "one, 一", "label": "a"}, {"text": "two", "label": "b"}]
    lines = '{"text": "one, 一", "label": "a"}\n\n{"text": "two", "label": "b"}\n'.encode()
    parquet.write_table(pyarrow.Table.from_pylist(wanted), tmp_path / "a.parquet")
    made = {
        "a.jsonl": lines,
        "a.ndjson.gz": gzip.compress(lines),
        "a.txt": lines,  # plain lines may be records
        "a.csv": '\ufefftext,label\r\n"one, 一",a\r\n\r\ntwo,b\r\n'.encode(),
        "a.tsv": "text\tlabel\none, 一\ta\ntwo\tb\n".encode(),
    }
    for name, content in made.items():
        assert values(write(tmp_path, name, content)) == wanted, name
    assert values(tmp_path / "a.parquet") == wanted


def test_plain_lines_are_texts_with_their_numbers(tmp_path):
    path = write(tmp_path, "a.txt", "\ufeffone \n\n二\r\n".encode())
    assert [(row.values["text"], row.origin) for row in read_rows(path)] == [("one ", f"{path}:1"), ("二", f"{path}:3")]


def test_standard_input_holds_texts_or_records(monkeypatch):
    class Stream:
        buffer = io.BytesIO(b'plain\n{"text": "record", "label": 1}\n')

    monkeypatch.setattr(sys, "stdin", Stream())
    assert values("-") == [{"text": "plain"}, {"text": "record", "label": 1}]


def test_empty_last_columns_may_be_left_out(tmp_path):
    assert values(write(tmp_path, "a.csv", b"a,b,c\n1\n1,2\n")) == [
        {"a": "1", "b": "", "c": ""},
        {"a": "1", "b": "2", "c": ""},
    ]


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2, column 7"),
        ("a.jsonl", b'{"a": 1}\n["a"]\n', "line 2.*list where an object"),
        ("a.jsonl", b'{"a": "\xff"}\n', "line 1, column 8"),
        ("a.jsonl", b'{"a": 1, "a": 2}\n', "line 1.*twice"),
        ("a.jsonl", b"[" * 10_000 + b"]" * 10_000, "line 1.*nested too deeply"),
        ("a.txt", b"good\n\xff\n", "line 2, column 1"),
        ("a.csv", b"a,b\n1,2,3\n", "line 2.*3 columns, the header has 2"),
        ("a.csv", b"a,a\n1,2\n", "line 2.*the header has 1"),
        ("a.csv", b'a,b\n1,"2\n', "line"),
        ("a.csv", b"a,b\n1,\xff\n", "line"),
        ("a.parquet", b"PAR1 not really", r"a\.parquet"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-6], r"a\.jsonl\.gz"),
        ("a.exe", b"MZ", r"unknown format.*\.jsonl"),
    ],
)
def test_damage_is_named_by_its_line(tmp_path, name, content, wanted):
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=wanted) as caught:
        values(path)
    assert str(path) in str(caught.value)


def test_missing_files_are_named_also_when_they_are_hashed(tmp_path):
    for look in (values, file_digest):
        with pytest.raises(DataError, match="nowhere"):
            look(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize(("library", "name"), [("pyarrow", "a.parquet"), ("zstandard", "a.jsonl.zst")])
def test_a_format_whose_library_is_missing_names_the_extra(tmp_path, monkeypatch, library, name):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{library}(?s:.*)\[data\]"):
        values(write(tmp_path, name, b""))


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(file_module, "LONGEST_LINE", 100)
    assert len(values(write(tmp_path, "a.txt", b"x" * 98 + b"\ny"))) == 2
    with pytest.raises(DataError, match="line 2.*too long"):
        values(write(tmp_path, "a.txt", b"y\n" + b"x" * 1000))
