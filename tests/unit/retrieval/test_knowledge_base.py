"""A knowledge base: exact places, incremental, safe against odd queries and damage."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trifold.errors import DataError, UsageError
from trifold.retrieval import KnowledgeBase, answer_from_triples, split_passages, terms_of

ENGLISH = "# Rivers\n\nThe Nile flows through Egypt. It is long.\n\nThe Rhine flows through Cologne.\n"
CHINESE = "长江是中国最长的河流。\n\n黄河是中国第二长的河流，流经兰州。\n"


class Hashing:
    """Unit vectors from hashed terms: a real, if simple, embedder."""

    name = "hashing-64"

    def embed(self, texts, *, query=False):
        table = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for term in terms_of(text):
                table[row, zlib.crc32(term.encode()) % 64] += 1
        return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "docs"
    (place / "zh").mkdir(parents=True)
    (place / "rivers.md").write_text(ENGLISH, encoding="utf-8")
    (place / "zh" / "河流.txt").write_text(CHINESE, encoding="utf-8")
    (place / "picture.png").write_bytes(b"\x89PNG\0\xff")
    (place / "broken.txt").write_bytes(b"\xff\xfd\0bad")
    rows = [
        {"id": "a", "title": "Danube", "text": "The Danube flows through Vienna."},
        {"id": "a", "text": "Duplicate id."},
    ]
    (place / "more.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return place


@settings(max_examples=60, deadline=None)
@given(st.text("ab 。.\n长江，", max_size=400), st.integers(1, 20))
def test_passages_are_exact_parts_in_order_and_lose_nothing(text, target):
    found = split_passages(text, target=target)
    place = 0
    for one in found:
        assert text[one.start : one.end] == one.text and one.text.strip() == one.text != ""
        assert not text[place : one.start].strip()
        place = one.end
    assert not text[place:].strip()


def test_passages_have_about_the_asked_size():
    text = "这是一个句子。" * 400 + "\n\n" + "This is a sentence. " * 300
    sizes = [len(one.text) for one in split_passages(text, target=60)]
    assert len(sizes) > 20 and max(sizes) < 500


def test_what_was_put_in_is_found_where_it_stands(tmp_path, folder):
    base, report = KnowledgeBase.build([folder], tmp_path / "kb")
    assert report.added == 4 and len(report.skipped) == 2
    assert {"picture.png", "broken.txt"} == {
        next(n for n in ("picture.png", "broken.txt") if n in s) for s in report.skipped
    }
    for query, document, part in (("nile river", "rivers.md", "Nile"), ("最长的河流", "zh/河流.txt", "长江"),
                                  ("兰州", "zh/河流.txt", "兰州"), ("VIENNA", "more.jsonl:a", "Vienna")):  # fmt: skip
        hit = base.search(query)[0]
        assert hit.document == document and part in hit.passage.text
        if ":" not in document:
            text = (folder / document).read_text(encoding="utf-8")
            assert text[hit.passage.start : hit.passage.end] == hit.passage.text


@pytest.mark.parametrize(
    "query",
    ["???", "", "，。！", "nile AND", '"nile', "nile*", "body:nile", "NEAR(nile egypt)", "-nile", "nile' OR 1=1 --"],
)
def test_a_query_is_only_ever_words(tmp_path, folder, query):
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb")
    hits = base.search(query)
    assert bool(hits) == ("nile" in query)
    assert not hits or "Nile" in hits[0].passage.text


def test_adding_reads_what_is_new_and_replaces_what_changed(tmp_path, folder):
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb", embedder=Hashing())
    before = len(base)
    again = base.add([folder], embedder=Hashing())
    assert (again.added, again.replaced, again.unchanged) == (0, 0, 4) and len(base) == before
    (folder / "rivers.md").write_text("The Amazon flows through Brazil.", encoding="utf-8")
    (folder / "new.txt").write_text("Lake Baikal is deep.", encoding="utf-8")
    found = base.add([folder], embedder=Hashing())
    assert (found.added, found.replaced, found.unchanged) == (1, 1, 3)
    fresh = KnowledgeBase(tmp_path / "kb")
    assert fresh.search("nile") == [] and "Amazon" in fresh.search("amazon")[0].passage.text
    for by in ("vectors", "both"):
        assert "Baikal" in fresh.search("deep baikal lake", embedder=Hashing(), by=by)[0].passage.text
        assert all("Nile" not in hit.passage.text for hit in fresh.search("nile egypt", 50, embedder=Hashing(), by=by))


def test_a_build_that_fails_leaves_nothing(tmp_path, folder):
    class Broken(Hashing):
        def embed(self, texts, *, query=False):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        KnowledgeBase.build([folder], tmp_path / "kb", embedder=Broken())
    assert [one.name for one in tmp_path.iterdir()] == ["docs"]
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb")
    with pytest.raises(RuntimeError):
        base.add([folder], embedder=Broken())
    (folder / "x.txt").write_text("Extra words.", encoding="utf-8")
    with pytest.raises(RuntimeError):
        base.add([folder], embedder=Broken())
    assert base.search("extra") == []


def test_what_is_wrong_is_said(tmp_path, folder):
    with pytest.raises(DataError, match="does not exist"):
        KnowledgeBase.build([tmp_path / "nowhere"], tmp_path / "kb")
    with pytest.raises(DataError, match="no knowledge base"):
        KnowledgeBase(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no text"):
        KnowledgeBase.build([tmp_path / "empty"], tmp_path / "kb")
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb")
    with pytest.raises(UsageError, match="exists"):
        KnowledgeBase.build([folder], tmp_path / "kb")
    with pytest.raises(UsageError, match="no vectors"):
        base.search("nile", embedder=Hashing())
    base.add([folder], embedder=Hashing())

    class Other(Hashing):
        name = "other"

    with pytest.raises(DataError, match="hashing-64"):
        base.search("nile", embedder=Other())
    file = tmp_path / "kb" / "vectors.bin"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DataError, match="damaged"):
        base.search("nile", embedder=Hashing())
    (tmp_path / "kb" / "index.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(DataError, match=r"index\.sqlite"):
        KnowledgeBase(tmp_path / "kb")


def test_triples_answer_by_name_and_relation(tmp_path):
    rows = ["subject\trelation\tobject", "《红楼梦》（小说）\t作者\t曹雪芹", "《红楼梦》（小说）\t朝代\t清代",
            "红楼\t地点\t北京", "Mount Everest\theight\t8849 m", "Mount Everest\tcountry\tNepal"]  # fmt: skip
    (tmp_path / "t.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    base, report = KnowledgeBase.build([tmp_path / "t.tsv"], tmp_path / "kb")
    assert report.triples == 5 and base.add([tmp_path / "t.tsv"]).triples == 0
    asked = {"红楼梦的作者是谁？": "曹雪芹", "《红楼梦》是哪个朝代的？": "清代"}
    for question, wanted in {**asked, "What is the height of Mount Everest?": "8849 m"}.items():
        assert answer_from_triples(base, question)[0].object == wanted
    assert answer_from_triples(base, "谁？") == [] == answer_from_triples(base, "?!")
    assert answer_from_triples(base, "everest") == [], "a part of a name is not the name"
