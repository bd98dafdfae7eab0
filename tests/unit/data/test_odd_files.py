"""Files that are damaged, odd or empty in part: what can be read is, and the rest is told by its reason or its place."""

import datetime
import json

import pytest

from trifold.data import ReadReport, SourceOptions, read
from trifold.data.columnar import class_names
from trifold.data.rows import read_rows
from trifold.errors import DataError


def put(place, content):
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def values(path, **options) -> list[dict]:
    return [dict(row.values) for row in read_rows(path, SourceOptions(**options))]


DAMAGED = {
    "a.txt": (b"one\nt\xffo\nthree\n", [{"text": "one"}, {"text": "three"}]),
    "a.jsonl": (b'{"text": "one"}\n{"text": "t\xffo"}\n', [{"text": "one"}]),
    "a.conll": (b"a O\nb O\n\nc O\n\xff O\n\nd B-X\n", [{"tokens": ["a", "b"], "tags": ["O", "O"]},
                                                      {"tokens": ["d"], "tags": ["B-X"]}]),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_what_holds_a_damaged_byte_is_left_out_and_counted(tmp_path, name):
    content, rows = DAMAGED[name]
    report = ReadReport()
    found = read_rows(put(tmp_path / name, content), SourceOptions(on_error="skip"), report)
    assert [row.values for row in found] == rows and dict(report.reasons) == {"data.left_bytes": 1}


@pytest.mark.parametrize("before", [0, 10, 40_000], ids=lambda size: f"{size} letters before")
@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_half_of_a_character_in_a_file_of_wide_ones_is_named_by_its_byte(tmp_path, name, before):
    text = "text\n" + "x" * before
    path = put(tmp_path / name, text.encode("utf-16") + b"\x00\xd8" + "y\n".encode("utf-16-le"))
    place = 2 + 2 * len(text)  # behind the mark
    for found in (read_rows(path), read([str(path)])):
        with pytest.raises(DataError) as caught:
            list(found)
        assert (caught.value.code, caught.value.values["place"]) == ("data.not_text", place)


def test_the_first_line_of_a_file_in_columns_may_name_them(tmp_path):
    path = put(tmp_path / "a.conll", "Token\tPOS\tNER\nLi\tNR\tB-PER\ncame\tVV\tO\n\nToken\tX\tO\n")
    assert values(path) == [
        {"tokens": ["Li", "came"], "pos": ["NR", "VV"], "ner": ["B-PER", "O"]},
        {"tokens": ["Token"], "pos": ["X"], "ner": ["O"]},
    ]


def test_a_page_is_one_row_whatever_encoding_it_says_that_nobody_knows(tmp_path):
    page = "<meta charset='klingon'/><title>Rivers</title><p>黄河<br/>The Nile<hr/>End<script/>.</p>"
    (row,) = read_rows(put(tmp_path / "a.html", page))
    assert row.values == {"text": "Rivers\n\n黄河\nThe Nile\nEnd."} and row.origin == f"{tmp_path / 'a.html'}:1"


def test_a_workbook_shows_times_and_may_be_empty(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.save(tmp_path / "a.xlsx")
    assert values(tmp_path / "a.xlsx") == []
    for row in (["at", "when"], [datetime.time(9, 5), datetime.datetime(2024, 1, 31, 9, 5)]):  # noqa: DTZ001 - as Excel's
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert values(tmp_path / "a.xlsx") == [{"at": "09:05:00", "when": "2024-01-31 09:05:00"}]


def test_a_scanned_page_among_others_is_counted_and_a_locked_document_is_refused(tmp_path):
    pypdf = pytest.importorskip("pypdf")
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = pypdf.PdfWriter()
    font = DictionaryObject({NameObject(f"/{key}"): NameObject(f"/{value}") for key, value in
                             {"Type": "Font", "Subtype": "Type1", "BaseFont": "Helvetica"}.items()})  # fmt: skip
    written, _ = writer.add_blank_page(200, 200), writer.add_blank_page(200, 200)
    content = DecodedStreamObject()
    content.set_data(b"BT /F1 12 Tf 20 100 Td (The Nile.) Tj ET")
    fonts = DictionaryObject({NameObject("/F1"): font})
    written[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    written[NameObject("/Contents")] = writer._add_object(content)
    writer.write(tmp_path / "a.pdf")
    report = ReadReport()
    (row,) = read_rows(tmp_path / "a.pdf", None, report)
    assert row.values["text"].strip() == "The Nile." and dict(report.reasons) == {"data.left_page": 1}
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    with pytest.raises(DataError) as caught:
        values(tmp_path / "locked.pdf")
    assert caught.value.code == "data.locked" and caught.value.values == {"path": str(tmp_path / "locked.pdf")}


NAMED = {"_type": "ClassLabel", "names": ["neg", "pos"]}


@pytest.mark.parametrize(
    ("feature", "names"),
    [(NAMED, ("neg", "pos")), ([NAMED], ("neg", "pos")), ({"_type": "Sequence", "feature": NAMED}, ("neg", "pos")),
     ([], None), (["text"], None), ({"_type": "Value", "dtype": "int64"}, None)],
)  # fmt: skip
def test_the_names_of_classes_are_found_however_a_file_describes_them(tmp_path, feature, names):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    described = {"huggingface": json.dumps({"info": {"features": {"label": feature}}})}
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"label": [[1, 0, -1, 7]]}).replace_schema_metadata(described), path)
    assert class_names(str(path)) == ({"label": names} if names else {})
    assert values(path) == [{"label": ["pos", "neg", None, 7] if names else [1, 0, -1, 7]}]


@pytest.mark.parametrize("content", [b"PAR1 not really", None])
def test_a_file_that_is_no_table_names_no_classes(tmp_path, content):
    path = tmp_path / "a.parquet"
    if content is not None:
        put(path, content)
    assert class_names(str(path)) == {}
