"""Text from outside: every damage has one clear error, and the policies count exactly."""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from trifold.data import ReadReport, SourceOptions, read
from trifold.errors import DataError


def texts(path, **options) -> list[str]:
    return ["".join(example.texts) for example in read([str(path)], SourceOptions(**options))]


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("invalid.txt", b"good\n\xff\xfe bad", "byte 5"),
        ("overlong.txt", b"ab\xc0\xafcd", "byte 2"),
        ("surrogate.txt", b"ab\xed\xa0\x80", "byte 2"),
        ("utf16.txt", "text".encode("utf-16"), "UTF-16"),
        ("nul.txt", b"abc\0def", "byte 3"),
        ("cut.txt", "中".encode()[:2], "byte 0"),
    ],
)
def test_b1_bad_bytes_are_refused_replaced_or_skipped(tmp_path, name, content, place):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=place) as caught:
        texts(path)
    assert str(path) in str(caught.value)
    report = ReadReport()
    assert list(read([str(path)], SourceOptions(on_error="skip"), report)) == []
    assert report.skipped == 1
    if name != "utf16.txt":
        report = ReadReport()
        (example,) = read([str(path)], SourceOptions(on_error="replace"), report)
        assert report.replaced == example.texts[0].count("\ufffd") > 0


def test_b1_marks_line_ends_and_odd_separators(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo\u2028three\rfour".encode())
    assert texts(path) == ["one\ntwo\u2028three\nfour"]
    assert texts(path, document="line") == ["one", "two\u2028three", "four"]


def test_b2_empty_blank_vanished_and_missing_files(tmp_path):
    for content in (b"", b"\n \n\t\n"):
        path = tmp_path / "empty.txt"
        path.write_bytes(content)
        report = ReadReport()
        assert list(read([str(path)], None, report)) == []
        assert report.blank == 1
    with pytest.raises(DataError, match="does not exist"):
        texts(tmp_path / "nowhere.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no readable file"):
        texts(tmp_path / "folder")
    with pytest.raises(DataError, match="unknown format"):
        (tmp_path / "a.exe").write_bytes(b"MZ")
        texts(tmp_path / "a.exe")


BAD_LINES = {
    "bad_json": '{"text": "a"',
    "missing_field": '{"body": "a"}',
    "wrong_type": '{"text": 5}',
    "not_an_object": '["text"]',
    "deep": "[" * 10_000 + "]" * 10_000,
    "twice": '{"text": "a", "text": "b"}',
    "nan": '{"text": "a", "x": NaN}',
    "huge_number": '{"text": "a", "x": ' + "9" * 1_000_000 + "}",
    "surrogate": '{"text": "\\ud800"}',
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_b4_a_bad_json_line_is_named_or_skipped_and_counted(tmp_path, kind):
    path = tmp_path / "a.jsonl"
    good = json.dumps({"text": "good"})
    path.write_text("\n".join([good, BAD_LINES[kind], good, BAD_LINES[kind]]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        texts(path)
    report = ReadReport()
    kept = [one.texts[0] for one in read([str(path)], SourceOptions(on_error="skip"), report)]
    assert kept == ["good", "good"]
    assert report.skipped == 2


def test_tables_jsonl_and_compression(tmp_path):
    (tmp_path / "a.csv").write_text('id,text\n1,"one, two"\n2,three\n', encoding="utf-8")
    (tmp_path / "b.tsv").write_text('text\tid\n"quoted\t1\n', encoding="utf-8")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "zipped"}\n'))
    (tmp_path / "notes.bin").write_bytes(b"\0")
    (tmp_path / ".hidden.txt").write_text("no", encoding="utf-8")
    report = ReadReport()
    found = [one.texts[0] for one in read([str(tmp_path)], None, report)]
    assert found == ["one, two", "three", '"quoted', "zipped"]
    assert [Path(name).name for name in report.ignored_files] == ["notes.bin"]
    with pytest.raises(DataError, match="no column 'body'"):
        texts(tmp_path / "a.csv", fields=("body",))
    (tmp_path / "d.csv").write_text("text,id\nonly one\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        texts(tmp_path / "d.csv")


def test_a_cut_off_archive_is_named(tmp_path):
    damaged = gzip.compress(b"some text that is long enough")[:-6]
    (tmp_path / "e.txt.gz").write_bytes(damaged)
    with pytest.raises(DataError, match=r"e\.txt\.gz"):
        texts(tmp_path / "e.txt.gz")


def test_zst_and_parquet(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress("压缩".encode()))
    parquet.write_table(pyarrow.table({"text": ["one", "two"], "n": [1, 2]}), tmp_path / "b.parquet")
    assert texts(tmp_path) == ["压缩", "one", "two"]
    with pytest.raises(DataError, match="no column"):
        texts(tmp_path / "b.parquet", fields=("body",))
    (tmp_path / "c.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"c\.parquet"):
        texts(tmp_path / "c.parquet")


def test_standard_input_and_parts_of_a_long_file(tmp_path, monkeypatch):
    class Stream:
        buffer = io.BytesIO(b"from a pipe")

    monkeypatch.setattr(sys, "stdin", Stream())
    assert texts("-") == ["from a pipe"]
    path = tmp_path / "long.txt"
    path.write_text("line\n" * 100_000, encoding="utf-8")
    parts = list(read([str(path)]))
    assert "".join(part.texts[0] for part in parts) == "line\n" * 100_000
    assert len(parts) > 2 and [part.complete for part in parts] == [False] * (len(parts) - 1) + [True]


def test_a_hub_name_without_network_says_so():
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match="hub"):
        texts("nobody/nothing")
