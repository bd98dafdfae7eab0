"""A knowledge base over time: folders that change, move and clash, several processes, damage."""

import json
import shutil
import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pytest

from trifold.cli.main import main
from trifold.data import SourceOptions
from trifold.errors import DataError
from trifold.retrieval import Embedder, KnowledgeBase, answer_from_triples, split_passages, terms_of
from trifold.retrieval import search as module

TRIPLES = "subject\trelation\tobject\n红楼梦\t作者\t曹雪芹\n红楼梦\t朝代\t清代\n"


class Hashing:
    """Unit vectors from hashed terms: a real, if simple, embedder."""

    def __init__(self, width: int = 64) -> None:
        self.name, self.width, self.queries = "hashing", width, 0

    def embed(self, texts, *, query=False):
        self.queries += query
        table = np.zeros((len(texts), self.width), dtype=np.float32)
        for row, text in enumerate(texts):
            for term in terms_of(text):
                table[row, zlib.crc32(term.encode()) % self.width] += 1
        return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "docs" / "nile.txt", "The Nile flows through Egypt.")
    write(tmp_path / "docs" / "rhine.txt", "The Rhine flows through Cologne.")
    write(tmp_path / "docs" / "长江.txt", "长江是中国最长的河流。")
    return tmp_path / "docs"


def test_files_of_one_name_in_two_folders_are_two_documents(tmp_path):
    one = write(tmp_path / "a" / "notes.txt", "The Nile is long.").parent
    two = write(tmp_path / "b" / "notes.txt", "The Rhine is shorter.").parent
    base, report = KnowledgeBase.build([one, two], tmp_path / "kb")
    assert (report.added, report.replaced) == (2, 0)
    assert base.search("nile")[0].document == "notes.txt"
    assert base.search("rhine")[0].document == str((two / "notes.txt").resolve())
    assert base.add([two]).unchanged == base.add([one]).unchanged == 1


def test_a_folder_that_was_moved_is_known_again(tmp_path, folder):
    write(folder / "rows.jsonl", json.dumps({"id": "a:1", "text": "The Danube."}))
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb")
    moved = folder.rename(tmp_path / "moved")
    write(moved / "nile.txt", "The Nile is long.")
    report = base.add([moved])
    assert (report.added, report.replaced, report.unchanged) == (0, 1, 3)


def test_what_is_gone_stays_unless_pruned(tmp_path, folder):
    table = write(folder / "t.tsv", TRIPLES)
    other = write(tmp_path / "other" / "danube.txt", "The Danube flows through Vienna.").parent
    base, _ = KnowledgeBase.build([folder, other], tmp_path / "kb", embedder=Hashing())
    (folder / "nile.txt").unlink()
    (folder / "rhine.txt").write_bytes(b"\xff\xfe\0bad")
    table.unlink()
    assert base.add([folder]).removed == 0 and base.search("nile") and answer_from_triples(base, "红楼梦的作者？")
    report = base.add([folder], prune=True, embedder=Hashing())
    assert report.removed == 1 and base.search("nile") == [] and answer_from_triples(base, "红楼梦的作者？") == []
    assert base.search("rhine"), "a file that is there but cannot be read keeps what is known of it"
    assert base.search("danube"), "another folder was not asked about"
    assert "Nile" not in base.search("nile egypt", embedder=Hashing(), by="vectors")[0].passage.text


def test_a_changed_table_forgets_its_old_triples(tmp_path):
    table = write(tmp_path / "t.tsv", TRIPLES)
    again = write(tmp_path / "u.tsv", TRIPLES.replace("清代", "清朝"))
    base, report = KnowledgeBase.build([table, again], tmp_path / "kb")
    assert report.triples == 4 and base.triples("红楼梦").count(("作者", "曹雪芹")) == 1
    write(table, TRIPLES.replace("曹雪芹", "曹霑").replace("红楼梦\t朝代", "石头记\t朝代"))
    assert base.add([table]).triples == 2
    assert base.triples("红楼梦") == [("作者", "曹雪芹"), ("朝代", "清朝"), ("作者", "曹霑")]
    assert base.add([table]).triples == 0
    write(again, "subject\trelation\tobject\nA\tb\tc\n")
    write(table, "subject\trelation\tobject\nA\tb\td\n")
    base.add([table, again])
    assert base.triples("A") == [("b", "d"), ("b", "c")] and base.subjects(["红楼梦", "石头记"]) == {}


def test_columns_of_triples_may_be_named_and_rows_need_text(tmp_path):
    table = write(tmp_path / "docs" / "t.csv", "wer,was,wen\nRhein,Länge,1233 km\n")
    base, report = KnowledgeBase.build([table], tmp_path / "kb", columns=("wer", "was", "wen"))
    assert report.triples == 1 and answer_from_triples(base, "Länge vom Rhein?")[0].object == "1233 km"
    assert KnowledgeBase.build([table], tmp_path / "kb2")[1].triples == 2  # facts about the first column
    table.unlink()
    bare = write(tmp_path / "docs" / "t.csv", "size\n3\n")
    with pytest.raises(DataError, match="Its columns: size"):
        KnowledgeBase.build([bare], tmp_path / "kb4")
    write(tmp_path / "docs" / "a.txt", "Some text.")
    assert len(KnowledgeBase.build([tmp_path / "docs"], tmp_path / "kb3")[1].skipped) == 1


def test_building_leaves_its_neighbours_alone_and_never_reads_itself(tmp_path, folder):
    precious = write(tmp_path / "docs" / "kb.tmp" / "notes.txt", "Precious words.")
    base, _ = KnowledgeBase.build([folder], folder / "kb", embedder=Hashing())
    assert precious.is_file() and base.search("precious")
    write(folder / "new.txt", "Lake Baikal.")
    report = base.add([folder])
    assert report.added == 1 and report.skipped == []


def test_a_second_connection_sees_and_continues_what_the_first_wrote(tmp_path, folder):
    first, _ = KnowledgeBase.build([folder], tmp_path / "kb", embedder=Hashing())
    second = KnowledgeBase.open(tmp_path / "kb")
    write(folder / "a.txt", "Lake Baikal is deep.")
    first.add([folder], embedder=Hashing())
    write(folder / "b.txt", "Mount Everest is high.")
    second.add([folder], embedder=Hashing())
    for base in (first, second):
        for query, word in (("deep baikal", "Baikal"), ("high everest", "Everest"), ("nile egypt", "Nile")):
            assert word in base.search(query, embedder=Hashing(), by="vectors")[0].passage.text


def test_one_process_writes_at_a_time(tmp_path, folder):
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb")
    base._base.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(tmp_path / "kb" / "index.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DataError, match="another process"):
        base.add([folder])
    assert base.search("nile")
    other.execute("ROLLBACK")
    other.close()
    assert base.add([folder]).unchanged == 3


def test_an_embedder_that_fails_midway_leaves_the_vectors_as_they_were(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("trifold.retrieval.writer.EMBEDDED_AT_ONCE", 1)
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb", embedder=Hashing())
    write(folder / "a.txt", "Lake Baikal.")
    write(folder / "b.txt", "Lake Victoria.")

    class Tiring(Hashing):
        def embed(self, texts, *, query=False):
            if "Victoria" in texts[0]:
                raise RuntimeError("tired")
            return super().embed(texts, query=query)

    with pytest.raises(RuntimeError):
        base.add([folder], embedder=Tiring())
    assert base.search("baikal") == [] and len(base.search("lake", 9, embedder=Hashing(), by="vectors")) == 3
    base.add([folder], embedder=Hashing())
    assert len(base.search("lake", 9, embedder=Hashing(), by="vectors")) == 5


def test_damage_is_named(tmp_path, folder):
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb", embedder=Hashing())
    with pytest.raises(DataError, match=r"hashing \(32\)"):
        base.search("nile", embedder=Hashing(32))
    write(folder / "a.txt", "Lake Baikal.")
    with pytest.raises(DataError, match=r"hashing \(32\)"):
        base.add([folder], embedder=Hashing(32))
    vectors = tmp_path / "kb" / "vectors.bin"
    whole = bytearray(vectors.read_bytes())
    whole[100] ^= 1
    vectors.write_bytes(whole)
    with pytest.raises(DataError, match=r"vectors\.bin.*damaged"):
        KnowledgeBase.open(tmp_path / "kb").search("nile", embedder=Hashing())
    file = tmp_path / "kb" / "index.sqlite"
    base._base.execute("UPDATE facts SET value = '1' WHERE name = 'format'")
    base.close()
    with pytest.raises(DataError, match="format 1"):
        KnowledgeBase.open(tmp_path / "kb")
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    with pytest.raises(DataError, match=r"index\.sqlite"):
        KnowledgeBase.open(tmp_path / "kb").search("nile")
    shutil.rmtree(tmp_path / "kb")
    (tmp_path / "kb").mkdir()
    sqlite3.connect(file).close()
    with pytest.raises(DataError, match=r"index\.sqlite"):
        KnowledgeBase.open(tmp_path / "kb")


def test_fusion_names_both_ranks(tmp_path, folder):
    embedder = Hashing()
    assert isinstance(embedder, Embedder)
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb", embedder=embedder)
    words, vectors = (base.search("nile flows", 9, embedder=embedder, by=by) for by in ("words", "vectors"))
    assert [hit.word_rank for hit in words] == [1, 2] and [hit.vector_rank for hit in vectors] == [1, 2, 3]
    asked = embedder.queries
    both = base.search("nile flows", 9, embedder=embedder, weight=0.5)
    assert embedder.queries == asked + 1 and len(both) == 3
    assert both[0].word_rank == both[0].vector_rank == 1 and both[0].score == pytest.approx(1.0)
    assert both[2].word_rank is None and both[2].vector_rank == 3
    assert base.search("?!", embedder=embedder) == [] == base.search("nile", 0)


def test_in_a_large_base_a_word_that_stands_everywhere_is_not_looked_up(tmp_path, folder, monkeypatch):
    base, _ = KnowledgeBase.build([folder], tmp_path / "kb")
    assert len(base.search("the nile")) == 2
    monkeypatch.setattr(module, "LARGE", 1)
    assert [hit.document for hit in base.search("the nile")] == ["nile.txt"]
    assert len(base.search("the")) == 2, "it is, when there is nothing else"


def test_long_queries_and_questions_are_answered(tmp_path, folder):
    base, _ = KnowledgeBase.build([folder, write(tmp_path / "t.tsv", TRIPLES)], tmp_path / "kb")
    assert base.search(" ".join(f"w{n}" for n in range(5_000)) + " nile")[0].document == "nile.txt"
    assert answer_from_triples(base, "红楼梦的作者是谁？" + "问" * 20_000)[0].object == "曹雪芹"
    assert (
        answer_from_triples(base, "红楼梦", scorer=lambda _, names: [float(n == "朝代") for n in names])[0].object
        == "清代"
    )


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("长江大桥", ["长江", "江大", "大桥"]),
        ("Ｃａｆés, 水！", ["cafe", "水"]),
        ("GDP增长2倍", ["gdp", "增长", "2", "倍"]),
        ("glasses cities bus 𠮷野家", ["glass", "city", "bus", "𠮷野", "野家"]),
        ("…—！", []),
    ],
)
def test_terms(text, terms):
    assert terms_of(text) == terms


def test_passages_end_where_sentences_do():
    quoted = "他说：“" + "好" * 28 + "。”她走了。"
    assert [one.text for one in split_passages(quoted * 3, target=11)] == [
        "他说：“" + "好" * 28 + "。”",
        "她走了。",
    ] * 3
    assert [len(one.text) for one in split_passages("河" * 700)] == [300, 300, 100]
    assert [one.text for one in split_passages("See v1.2 of it. Then go.", target=5)] == ["See v1.2 of it.", "Then go."]
    assert max(len(one.text) for one in split_passages("x" * 10_000 + "-" * 10_000)) <= 2_500


def test_the_command_line_builds_adds_and_searches(tmp_path, folder, capsys):
    assert main(["index", "build", str(folder), "--out", str(tmp_path / "kb"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 3
    assert main(["index", "add", str(tmp_path / "kb"), str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 3
    assert main(["index", "search", str(tmp_path / "kb"), "最长的河流", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)["hits"]
    assert (hit["document"], hit["start"], hit["end"], hit["word_rank"]) == ("长江.txt", 0, 11, 1)
    assert main(["index", "search", str(tmp_path / "nowhere"), "a"]) == 3


def test_what_a_knowledge_base_leaves_out_is_told_with_its_reason(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "page.html").write_text("<title>Nile</title><script>no</script><p>It is long.", encoding="utf-8")
    (docs / "picture.png").write_bytes(b"\x89PNG")
    (docs / "rows.csv").write_text('text,url\none,u\n"broken" row,u\n,u\n', encoding="utf-8")
    paragraph = {"context": "He sat.", "qas": [{"id": "1", "question": "who?"}, {"id": "2", "question": "what?"}]}
    (docs / "squad.json").write_text(
        json.dumps({"data": [{"title": "t", "paragraphs": [paragraph]}]}), encoding="utf-8"
    )
    base, report = KnowledgeBase.build([docs], tmp_path / "kb", options=SourceOptions(on_error="skip"))
    assert report.added == 3 and [hit.title for hit in base.search("long")] == ["Nile"]
    assert report.account["left_out"] == {"data.left_quotes": 1, "data.left_field": 1}
    assert report.skipped == [f"{docs / 'picture.png'}: of an unknown format"]
    assert any("not used: url" in line for line in report.told)
