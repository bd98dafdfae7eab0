"""Formats as people have them: read as they are meant, or refused by name."""

import datetime
import gzip
import json
import logging
import sys

import pytest

from trifold.data import ReadReport, SourceOptions, read
from trifold.data.rows import file_digest, read_rows
from trifold.errors import DataError, MissingExtraError, UsageError

SQUAD = {"version": "2", "data": [{"title": "t", "paragraphs": [
    {"context": "Li Na came.", "qas": [
        {"id": "1", "question": "who?", "answers": [{"text": "Li Na", "answer_start": 0}]},
        {"id": "2", "question": "why?", "answers": [], "is_impossible": True}]},
    {"context": "He sat.", "qas": [{"id": "3", "question": "who sat?", "answers": []}]},
    {"context": "Nothing is asked.", "qas": []}]}]}  # fmt: skip
CMRC = [{"context_id": "c", "context_text": "李娜来了。", "title": "李", "qas": [
    {"query_id": "q", "query_text": "谁来了？", "answers": ["李娜"]}]}]  # fmt: skip


def values(path, **options) -> list[dict]:
    return [dict(row.values) for row in read_rows(path, SourceOptions(**options))]


def put(place, content):
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


@pytest.mark.parametrize("ending", ["json", "json.gz"])
def test_published_question_answering_gives_a_row_a_question(tmp_path, ending):
    packed = gzip.compress if ending.endswith("gz") else bytes
    report = ReadReport()
    path = put(tmp_path / f"a.{ending}", packed(json.dumps(SQUAD, indent=1).encode()))
    rows = list(read_rows(path, None, report))
    assert [row.values["id"] for row in rows] == ["1", "2", "3"]
    assert rows[0].values == {"id": "1", "title": "t", "context": "Li Na came.", "question": "who?",
                              "answers": [{"text": "Li Na", "answer_start": 0}]}  # fmt: skip
    assert rows[1].values["is_impossible"] is True and rows[2].origin == f"{path}:1#2.1"
    assert dict(report.reasons) == {"data.left_no_question": 1}
    lines = "\n".join(json.dumps(one) for one in SQUAD["data"])
    assert [row["id"] for row in values(put(tmp_path / "b.jsonl", lines))] == ["1", "2", "3"]


def test_the_older_nesting_of_cmrc_has_other_names_for_the_same(tmp_path):
    (row,) = values(put(tmp_path / "a.json", json.dumps(CMRC, ensure_ascii=False)))
    assert row == {"id": "q", "title": "李", "context": "李娜来了。", "question": "谁来了？", "answers": ["李娜"]}


ROWS = [{"text": "one, 一", "label": "a"}, {"text": 'two "2"', "label": "b"}]


@pytest.mark.parametrize(
    "document",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2, ensure_ascii=False),
        json.dumps({"version": 1, "data": ROWS}),
        json.dumps({"rows": [{"row_idx": n, "row": row} for n, row in enumerate(ROWS)]}),
        json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}),
        json.dumps({key: {str(n): row[key] for n, row in enumerate(ROWS)} for key in ROWS[0]}),  # pandas' own
        json.dumps({str(n): row for n, row in enumerate(ROWS)}),
        json.dumps({"columns": ["text", "label"], "index": [0, 1], "data": [list(row.values()) for row in ROWS]}),
        "\n".join(map(json.dumps, ROWS)),
    ],
)
def test_json_documents_of_every_usual_make_give_the_same_rows(tmp_path, document):
    assert values(put(tmp_path / "a.json", document)) == ROWS


def test_a_large_array_is_read_in_parts_and_damage_in_it_is_placed(tmp_path):
    text = json.dumps([{"text": "x" * 50_000, "n": n} for n in range(60)], indent=0)
    assert [row["n"] for row in values(put(tmp_path / "a.json", text))] == list(range(60))
    with pytest.raises(DataError, match=r"line 6, column \d.*JSON"):
        values(put(tmp_path / "b.json", '[\n{"a": 1},\n{"a":\n 2},\n\n{"a": }\n]'))
    with pytest.raises(DataError, match="after the end"):
        values(put(tmp_path / "b.json", "[1][2]"), on_error="skip")
    with pytest.raises(DataError, match="several lists.*train, test"):
        values(put(tmp_path / "c.json", json.dumps({"train": ROWS, "test": ROWS})))
    report = ReadReport()
    path = put(tmp_path / "d.json", '[{"a": 1}, 5, "text"]')
    with pytest.raises(DataError, match="item 2"):
        values(path)
    kept = list(read_rows(path, SourceOptions(on_error="skip"), report))
    assert [row.values for row in kept] == [{"a": 1}, {"text": "text"}] and report.skipped == 1


CONLL = "-DOCSTART- O\n\n# a remark\nLi B-PER\ncame O\n\n张 B-PER\n三 I-PER\n"


@pytest.mark.parametrize(("name", "text"), [("a.txt", CONLL), ("a.conll", CONLL.replace(" ", "\t").replace("#\t", "# ")),
                                            ("a.bio", CONLL.replace("\n", "\r\n"))])  # fmt: skip
def test_tokens_and_tags_in_columns_are_sentences(tmp_path, name, text):
    path = put(tmp_path / name, text)
    assert values(path)[:2] == [
        {"tokens": ["Li", "came"], "tags": ["B-PER", "O"]},
        {"tokens": ["张", "三"], "tags": ["B-PER", "I-PER"]},
    ]
    assert next(read_rows(path)).origin == f"{path}:4"


def test_conll_keeps_odd_tokens_further_columns_and_names_ragged_lines(tmp_path):
    path = put(tmp_path / "a.conll", "\u3000\tX\tO\n#\tX\tO\n\u200b\tX\tB-A\n\n")
    assert values(path) == [{"tokens": ["\u3000", "#", "\u200b"], "column_2": ["X"] * 3, "tags": ["O", "O", "B-A"]}]
    path = put(tmp_path / "b.conll", "a O\nb O\n\nc O\nd\ne O\n\n")
    with pytest.raises(DataError, match="line 5.*1 columns where the sentence has 2"):
        values(path)
    assert len(values(path, on_error="skip")) == 1
    universal = "# text = They buy.\n1\tThey\tthey\tPRON\tP\t_\t2\tnsubj\t_\t_\n2-3\tbuy.\t_\t_\t_\t_\t_\t_\t_\t_\n"
    universal += "2\tbuy\tbuy\tVERB\tV\t_\t0\troot\t_\t_\n"
    (row,) = values(put(tmp_path / "c.conllu", universal))
    assert (row["tokens"], row["upos"]) == (["They", "buy"], ["PRON", "VERB"])
    speech = "我 PN\n来 VV\n\n你 PN\n去 VV\n你 PN\n"
    path = put(tmp_path / "d.txt", speech)
    assert values(path)[0] == {"text": "我 PN"} and values(path, tagged=True)[0]["tags"] == ["PN", "VV"]


@pytest.mark.parametrize(
    "text", ["O Romeo\nVitamin B\n", "{name} was kind\nplain\n", "{}\nnot an object\n{ x\n", "yes O\n"]
)
def test_running_text_is_never_taken_for_records_or_columns(tmp_path, text):
    assert [row["text"] for row in values(put(tmp_path / "a.txt", text))] == text.splitlines()


TABLES = {
    "pandas.tsv": 'text\tlabel\n"he said ""yes"""\tpos\n"a\tb\nc"\tneg\nplain\tpos\n',
    "all_quoted.tsv": '"text"\t"label"\n"he said ""yes"""\t"pos"\n"a\tb\nc"\t"neg"\n"plain"\t"pos"\n',
    "excel.csv": '\ufeffsep=;\r\ntext;label\r\n"he said ""yes""";pos\r\n"a\tb\nc";neg\r\nplain;pos\r\n',
    "europe.csv": 'text;label\n"he said ""yes""";pos\n"a\tb\nc";neg\nplain;pos\n',
    "spaced.csv": 'text, label\n"he said ""yes""", "pos"\n"a\tb\nc", neg\nplain, pos\n',
    "escaped.csv": 'text,label\n"he said \\"yes\\"",pos\n"a\tb\nc",neg\nplain,pos\n',
    "trailing.csv": 'text,label,,\n"he said ""yes""",pos,,\n"a\tb\nc",neg,,\n,,,\nplain,pos\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_in_the_dialect_they_are_written_in(tmp_path, name):
    wanted = [('he said "yes"', "pos"), ("a\tb\nc", "neg"), ("plain", "pos")]  # fmt: skip
    assert [tuple(row.values()) for row in values(put(tmp_path / name, TABLES[name]))] == wanted


def test_marks_that_are_no_quotation_stay(tmp_path):
    rows = ['5" disk\t1', '"begun\t0', '"whole"\t1', 'she said "no"\t0', '"a" and "b"\t1']
    path = put(tmp_path / "a.tsv", "text\tlabel\n" + "\n".join(rows))
    assert [row["text"] for row in values(path)] == [row.split("\t")[0] for row in rows]
    path = put(tmp_path / "a.csv", 'text,label\n5" disk,1\n')
    assert values(path) == [{"text": '5" disk', "label": "1"}]


@pytest.mark.parametrize("bad", ['"quoted" start,neg', '"never closed,neg', "a,b,c"])
def test_a_broken_row_costs_one_row_and_all_others_are_kept(tmp_path, bad):
    lines = [f"good {n},pos" for n in range(9)]
    path = put(tmp_path / "a.csv", "\n".join(["text,label", *lines[:4], bad, *lines[4:], '"whole",neg', "end,pos"]))
    with pytest.raises(DataError, match='line 6.*on_error="skip"'):
        values(path)
    report = ReadReport()
    kept = [row.values["text"] for row in read_rows(path, SourceOptions(on_error="skip"), report)]
    assert kept == [*(line.split(",")[0] for line in lines), "whole", "end"] and report.skipped == 1


def test_the_index_that_pandas_writes_has_a_name_and_two_columns_of_one_name_are_refused(tmp_path):
    assert values(put(tmp_path / "a.csv", ",text\n0,one\n")) == [{"Unnamed: 0": "0", "text": "one"}]
    with pytest.raises(DataError, match="two columns are called 'a'"):
        values(put(tmp_path / "b.csv", "a,a\n1,2\n"), on_error="skip")


FRENCH = "Le café est très bon, à côté de l'école où l'été arrive.\n"
CHINESE = "这部电影非常好看，演员的表演很自然。\n我们都很喜欢。\n"
TAIWAN = "這部電影非常好看，演員的表演很自然。\n我們都很喜歡。\n"


@pytest.mark.parametrize(("encoding", "text", "said"), [("gbk", CHINESE, "gb18030"), ("gb18030", CHINESE, "gb18030"),
                         ("big5", TAIWAN, "big5"), ("latin-1", FRENCH, "cp1252"), ("cp1252", FRENCH, "cp1252"),
                         ("utf-16-le", FRENCH, "utf-16-le")])  # fmt: skip
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_another_encoding_is_named_and_the_advice_reads_it(tmp_path, encoding, text, said, name):
    lines = text.splitlines()
    whole = {"a.txt": text, "a.jsonl": "".join(json.dumps({"text": one}, ensure_ascii=False) + "\n" for one in lines),
             "a.csv": "text\n" + "".join(f'"{one}"\n' for one in lines)}[name]  # fmt: skip
    path = put(tmp_path / name, whole.encode(encoding))
    with pytest.raises(DataError, match=f'encoding="{said}"'):
        values(path)
    assert [row["text"] for row in values(path, encoding=said)] == lines
    assert "\n".join(one.texts[0] for one in read([str(path)], SourceOptions(encoding=said))).split() == text.split()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_mark_decides_whatever_is_said(tmp_path, encoding):
    for name, text in {"a.csv": "text,label\n中文,1\n", "a.txt": "中文\n"}.items():
        path = put(tmp_path / name, text.encode(encoding))
        for said in ("utf-8", "gb18030"):
            assert values(path, encoding=said)[0]["text"] == "中文"
            assert "中文" in next(iter(read([str(path)], SourceOptions(encoding=said)))).texts[0]


def test_among_files_of_an_encoding_one_in_utf_8_stays_what_it_is(tmp_path):
    put(tmp_path / "a.txt", CHINESE.encode("gbk"))
    put(tmp_path / "b.txt", CHINESE)
    report = ReadReport()
    found = [one.texts[0] for one in read([str(tmp_path)], SourceOptions(encoding="gb18030"), report)]
    assert found == [CHINESE, CHINESE] and list(report.encodings.values()) == ["gb18030"]
    with pytest.raises(UsageError, match="no encoding 'klingon'"):
        SourceOptions(encoding="klingon")


def test_bytes_are_left_out_or_replaced_and_the_report_says_so_in_words(tmp_path):
    path = put(tmp_path / "a.csv", b"text,label\ngood \xff,1\nfine,2\n\n,\nshort\n")
    report = ReadReport()
    assert [row.values["text"] for row in read_rows(path, SourceOptions(on_error="skip"), report)] == ["fine", "short"]
    assert (report.rows, report.short, report.blank) == (2, 1, 2) and dict(report.reasons) == {"data.left_bytes": 1}
    assert any("1 records left out: bytes that cannot be decoded 1" in line for line in report.lines())
    report = ReadReport()
    kept = list(read_rows(path, SourceOptions(on_error="replace"), report))
    assert kept[0].values["text"] == "good \ufffd" and report.replaced == 1


def test_a_file_of_which_nothing_can_be_decoded_is_not_passed_over(tmp_path):
    path = put(tmp_path / "a.csv", "text,label\n中文文本,正面\n很好看,正面\n".encode("gbk"))
    with pytest.raises(DataError, match='encoding="gb18030"'):
        values(path, on_error="skip")


def test_a_corpus_says_which_column_it_reads_and_which_it_does_not(tmp_path):
    path = put(tmp_path / "a.jsonl", '{"title": "t", "content": "one"}\n{"content": "two", "url": "u"}\n')
    report = ReadReport()
    assert [one.texts[0] for one in read([str(path)], None, report)] == ["one", "two"]
    assert report.lines() == [f"{path}: read as text: content; not used: title, url"]
    with pytest.raises(DataError, match=r"no column 'text'.*question.*text_field"):
        list(read([str(put(tmp_path / "b.jsonl", '{"question": "one"}\n'))]))


def test_a_folder_is_taken_where_a_file_is(tmp_path):
    put(tmp_path / "a.csv", "text\none\n")
    put(tmp_path / "b.json", '[{"text": "two"}]')
    put(tmp_path / "c.png", b"\x89PNG")
    report = ReadReport()
    assert [row.values["text"] for row in read_rows(tmp_path, None, report)] == ["one", "two"]
    assert [line for line in report.lines() if "c.png" in line and "unknown format" in line]
    before = file_digest(tmp_path)
    put(tmp_path / "b.json", '[{"text": "three"}]')
    assert file_digest(tmp_path) != before


def test_class_names_stand_for_their_numbers(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"]),
                                  "tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-A"]))})  # fmt: skip
    made = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, -1], "tags": [[0, 1], []]}, features=features)
    made.to_parquet(tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == [
        {"text": "a", "label": "pos", "tags": ["O", "B-A"]},
        {"text": "b", "label": None, "tags": []},
    ]


def test_a_workbook_is_read_as_people_see_it(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    first, other = book.active, book.create_sheet("More")
    first.title = "Films"
    for row in (["text", "label", "day", "code"], ["good", 1.0, datetime.date(2024, 1, 31), 7], ["bad", 0.5, None, 12],
                [None] * 4, ["fine", True, "x", 3]):  # fmt: skip
        first.append(row)
    first["D2"].number_format = "000"
    other.append(["text"])
    other.append(["of the other sheet"])
    book.save(tmp_path / "a.xlsx")
    report = ReadReport()
    rows = [dict(row.values) for row in read_rows(tmp_path / "a.xlsx", None, report)]
    assert rows == [
        {"text": "good", "label": 1, "day": "2024-01-31", "code": "007"},
        {"text": "bad", "label": 0.5, "day": "", "code": 12},
        {"text": "fine", "label": True, "day": "x", "code": 3},
    ]
    assert report.sheets == [f"{tmp_path / 'a.xlsx'}:More"] and report.blank == 1
    assert values(report.sheets[0]) == [{"text": "of the other sheet"}] and len(file_digest(report.sheets[0])) == 64
    with pytest.raises(DataError, match="no such sheet.*Films, More"):
        values(f"{tmp_path / 'a.xlsx'}:None")
    first["A6"] = "=UPPER(A2)"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(DataError, match="line 6.*formula in A6"):
        values(tmp_path / "a.xlsx")
    with pytest.raises(DataError, match=r"b\.xlsx cannot be read"):
        values(put(tmp_path / "b.xlsx", b"PK\x03\x04 not really"))
    assert logging.getLogger("openpyxl").level == logging.NOTSET  # the caller's own


def test_the_log_of_a_library_speaks_again_when_the_last_of_several_files_is_read(tmp_path):
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (["text"], ["one"], ["two"]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    log, (first, second) = logging.getLogger("openpyxl"), (read_rows(tmp_path / "a.xlsx", None, None) for _ in range(2))
    next(first)
    next(second)
    list(first)
    assert log.level == logging.CRITICAL
    assert len(list(second)) == 1 and log.level == logging.NOTSET


PAGE = """<html><head><title>Rivers</title><meta charset="%s"><style>p {}</style></head><body><h1>黄河之水</h1>
<p>It &amp; its <b>delta</b>s.<script>var x = "<p>no</p>";</script></p><ul><li>one<li>two</ul><table><tr><td>a</td>
<td>b</td></tr></table><pre>x
  y</pre></body></html>"""


@pytest.mark.parametrize(("said", "encoding"), [("gb2312", "gbk"), ("utf-8", "utf-8"), ("gbk", "utf-8")])
def test_a_page_is_its_text_without_tags_and_scripts_in_the_encoding_it_names(tmp_path, said, encoding):
    path = put(tmp_path / "a.html", (PAGE % said).encode(encoding))
    (found,) = read([str(path)])
    assert found.texts[0] == "Rivers\n\n黄河之水\n\nIt & its deltas.\n\none\ntwo\n\na b\n\nx\n  y"


def test_documents_of_office_programs_are_text_or_named(tmp_path, monkeypatch):
    docx, pypdf = pytest.importorskip("docx"), pytest.importorskip("pypdf")
    document = docx.Document()
    document.add_heading("Rivers")
    document.add_paragraph("The Nile.")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    document.save(str(tmp_path / "a.docx"))
    assert next(iter(read([str(tmp_path / "a.docx")]))).texts[0].split() == ["Rivers", "The", "Nile.", "a", "b"]
    scan = pypdf.PdfWriter()
    scan.add_blank_page(100, 100)
    scan.write(tmp_path / "scan.pdf")
    with pytest.raises(DataError, match="no text on its 1 pages"):
        list(read([str(tmp_path / "scan.pdf")]))
    for name in ("broken.docx", "broken.pdf"):
        with pytest.raises(DataError, match=rf"{name} cannot be read"):
            list(read([str(put(tmp_path / name, b"%PDF-1.7 not really"))]))
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(MissingExtraError, match=r"python-docx(?s:.*)trifold\[documents\]"):
        list(read([str(tmp_path / "a.docx")]))
    report = ReadReport()
    (tmp_path / "broken.pdf").unlink()
    with pytest.raises(DataError, match="pages"):
        list(read([str(tmp_path)], None, report))
    assert any("trifold[documents]" in line and "a.docx" in line for line in report.lines())
