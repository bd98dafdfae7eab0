"""Text from outside: every damage has one clear error, and the policies count exactly."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from trifold.data import ReadReport, SourceOptions, read
from trifold.data.source import fingerprint
from trifold.errors import DataError, MissingExtraError


def texts(path, **options) -> list[str]:
    return ["".join(example.texts) for example in read([str(path)], SourceOptions(**options))]


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("invalid.txt", b"good\n\xff\xfe bad", "byte 5"),
        ("overlong.txt", b"ab\xc0\xafcd", "byte 2"),
        ("surrogate.txt", b"ab\xed\xa0\x80", "byte 2"),
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
    report = ReadReport()
    (example,) = read([str(path)], SourceOptions(on_error="replace"), report)
    assert report.replaced == example.texts[0].count("\ufffd") > 0


def test_b1_marks_line_ends_and_odd_separators(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo\u2028three\rfour".encode())
    assert texts(path) == ["one\ntwo\u2028three\nfour"]
    assert texts(path, document="line") == ["one", "two\u2028three", "four"]
    path.write_text("one\n \ntwo\n")
    assert texts(path, document="line") == ["one", "two"]
    assert texts(path, document="paragraph") == ["one", "two\n"]


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
    (tmp_path / "a.exe").write_bytes(b"MZ")
    with pytest.raises(DataError, match="unknown format"):
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
    with pytest.raises(DataError, match="line 2, column 13: Expecting" if kind == "bad_json" else "line 2"):
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
    assert [Path(name).name for name in report.ignored] == ["notes.bin"]
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


@pytest.fixture
def rows(monkeypatch):
    """What the hub's data set `nobody/nothing` holds."""
    held: list[dict] = []
    datasets = pytest.importorskip("datasets")

    def load(name, *, split, streaming):
        assert (name, split, streaming) == ("nobody/nothing", "test", True)
        return held

    monkeypatch.setattr(datasets, "load_dataset", load)
    return held


def test_a_data_set_of_the_hub_is_read_row_by_row(rows):
    rows += [{"text": "one", "n": 1}, {"text": "二"}]
    assert texts("nobody/nothing:test") == ["one", "二"]
    rows.append({"body": "no text"})
    with pytest.raises(DataError, match="nobody/nothing"):
        texts("nobody/nothing:test")


@pytest.mark.parametrize(("library", "name"), [("pyarrow", "a.parquet"), ("datasets", "nobody/nothing")])
def test_what_needs_a_missing_library_names_the_extra(tmp_path, monkeypatch, library, name):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.chdir(tmp_path)
    if name.endswith("parquet"):
        Path(name).touch()
    with pytest.raises(MissingExtraError, match=rf"{library}(?s:.*)\[data\]"):
        texts(name)


def test_parquet_cells_that_are_no_text_are_named_or_skipped_and_counted(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["one", None, "three"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="line 2.*NoneType"):
        texts(tmp_path / "a.parquet")
    report = ReadReport()
    found = list(read([str(tmp_path / "a.parquet")], SourceOptions(on_error="skip"), report))
    assert [one.texts[0] for one in found] == ["one", "three"]
    assert report.skipped == 1


def test_bad_bytes_of_a_table_are_named_by_line_and_byte_or_replaced(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,id\r" + b"good,1\r\n" * 99 + b"x\xff,2\n")
    with pytest.raises(DataError, match="line 100, column 2: invalid start byte"):
        texts(path)
    assert texts(path, on_error="replace") == ["good"] * 99 + ["x\ufffd"]


@pytest.mark.parametrize("bad", ["a,b,c", '"a"b,c', "one"])
def test_bad_lines_of_a_table_are_named_or_skipped(tmp_path, bad):
    path = tmp_path / "a.csv"
    path.write_text(f"text,id\ngood,1\n{bad}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3"):
        texts(path)
    if '"' not in bad:  # after a broken quotation nothing is certain any more
        report = ReadReport()
        assert [one.texts[0] for one in read([str(path)], SourceOptions(on_error="skip"), report)] == ["good"]
        assert report.skipped == 1


def test_a_record_with_lone_surrogates_is_replaced_when_asked(tmp_path):
    (tmp_path / "a.jsonl").write_text('\n{"text": "a\\ud800b"}\n', encoding="utf-8")
    assert texts(tmp_path / "a.jsonl", on_error="replace") == ["a?b"]


def test_the_fingerprint_is_that_of_the_content_and_of_a_hub_name(tmp_path, monkeypatch):
    (tmp_path / "one.txt").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "other.txt").write_text("text")
    (tmp_path / "folder" / "unknown.bin").write_text("counts for nothing")
    one, other = fingerprint([str(tmp_path / "one.txt")]), fingerprint([str(tmp_path / "folder")])
    assert one == other != fingerprint(["nobody/nothing"])
    assert fingerprint(["nobody/nothing"]) != fingerprint(["nobody/else"])

    def fail(*words):
        raise OSError("gone")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(DataError, match=r"one\.txt.*gone"):
        fingerprint([str(tmp_path / "one.txt")])


@pytest.mark.parametrize("end", [" " * 200_000, "\n" * 200_000])
def test_a_long_document_ends_where_its_file_ends_also_when_its_last_part_is_blank(tmp_path, end):
    (tmp_path / "a.txt").write_text("x" * 200_000 + end)
    (tmp_path / "b.txt").write_text("another")
    report = ReadReport()
    found = list(read([str(tmp_path)], None, report))
    assert [one.complete for one in found].count(True) == report.documents == 2
    assert "".join(one.texts[0] for one in found[:-1]) == "x" * 200_000 + end


def test_a_long_document_that_breaks_off_is_closed_before_the_next(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good line\n" * 200_000 + b"\xff")
    (tmp_path / "b.txt").write_text("another")
    report = ReadReport()
    found = list(read([str(tmp_path)], SourceOptions(on_error="skip"), report))
    assert [(one.texts[0], one.complete) for one in found[-2:]] == [("", True), ("another", True)]
    assert (report.documents, report.skipped) == (2, 1)


def write_long(path: Path, text: str) -> str:
    """Three documents of a format, the second very long, after which a blank one."""
    lines = ["first", text, "last"]
    if path.suffix == ".jsonl":
        content = "\n".join(json.dumps({"text": line}) for line in lines)
    else:
        content = ("text\n" if path.suffix == ".csv" else "") + "\n\n".join(lines)
    path.write_text(content, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("name", "document"), [("a.txt", "line"), ("a.txt", "paragraph"), ("a.jsonl", "file"),
                                                ("a.csv", "file")])  # fmt: skip
def test_b3_a_very_long_document_comes_in_parts_and_is_still_one(tmp_path, name, document):
    text = "".join(f"word{number} " for number in range(300_000)).strip()
    path = write_long(tmp_path / name, text)
    report = ReadReport()
    found = list(read([path], SourceOptions(document=document), report))
    assert max(len(one.texts[0]) for one in found) <= 2**17
    assert [one.complete for one in found] == [True, *[False] * (len(found) - 3), True, True]
    assert "".join(one.texts[0] for one in found[1:-1]) == text
    assert report.documents == 3


STORE = """
import json, resource, sys
from pathlib import Path
from trifold.data import SourceOptions, TokenStore, build_stores, read
from trifold.text import train_tokenizer
source, out = Path(sys.argv[1]), Path(sys.argv[2])
tokenizer = train_tokenizer(["some words and xs"] * 9, vocab_size=400)
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = used()
build_stores(read([str(source)], SourceOptions(document="line")), tokenizer, out)
store = TokenStore(out / "train", tokenizer)
print(json.dumps([used() - before, store.num_documents, store.num_bytes]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_b3_a_line_of_100_mib_takes_at_most_20_times_its_size_in_memory(tmp_path, name):
    size = 100 * 2**20
    with (tmp_path / name).open("w") as file:
        before, after = {".jsonl": ('{"text": "', '"}\n'), ".csv": ("text\n", "\n")}.get(Path(name).suffix, ("", "\n"))
        file.write(before)
        for _ in range(100):
            file.write("x" * 2**20)
        file.write(after)
    command = [sys.executable, "-c", STORE, str(tmp_path / name), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used, documents, num_bytes = json.loads(done.stdout)
    assert (documents, num_bytes) == (1, size)
    assert used <= 20 * size


def test_a_very_long_pair_stays_whole(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"a": "x" * 300_000, "b": "y"}))
    (found,) = read([str(tmp_path / "a.jsonl")], SourceOptions(fields=("a", "b")))
    assert (len(found.texts[0]), found.texts[1], found.complete) == (300_000, "y", True)
