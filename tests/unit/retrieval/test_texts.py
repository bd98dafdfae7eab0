"""A knowledge base of texts that a program holds."""

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
from jaxtyping import config

from tests.unit.retrieval.test_knowledge_base import Hashing
from trifold.errors import DataError, UsageError
from trifold.retrieval import KnowledgeBase
from trifold.retrieval.texts import documents_of

PAGES = [
    {"text": "The Nile flows through Egypt.", "title": "Nile", "source": "rivers"},
    {"text": "The Rhine flows through Cologne.", "title": "Rhine", "source": "rivers"},
    "长江是中国最长的河流。",
]


def test_texts_are_found_without_a_file_and_are_gone_with_the_object():
    base = KnowledgeBase.from_texts(iter(PAGES), embedder=Hashing())
    folder = base.folder
    hit = base.search("What flows through Cologne?")[0]
    assert (hit.document, hit.title, hit.passage.text) == ("rivers:2", "Rhine", PAGES[1]["text"])
    assert base.search("中国最长的河流", embedder=Hashing())[0].passage.text == PAGES[2]
    assert folder.is_dir() and len(base) == 3
    del base, hit
    gc.collect()
    assert not folder.parent.exists()


def test_a_name_with_a_number_that_a_text_brings_along_is_given_to_no_other():
    pages = [{"text": word, "source": source} for word, source in (("a", "x"), ("b", "x:2"), ("c", "x"), ("d", "x:2"))]
    assert [one.name for one in documents_of(pages)] == ["x", "x:2", "x:3", "x:2:2"]
    pages = [{"text": word, "source": source} for word, source in (("a", "x"), ("b", "x"), ("c", "x:2"))]
    assert [one.name for one in documents_of(pages)] == ["x", "x:2", "x:2:2"]
    assert len(KnowledgeBase.from_texts(pages)) == 3


def test_in_a_folder_they_stay_and_texts_that_are_known_are_passed_over(tmp_path):
    KnowledgeBase.from_texts(PAGES, tmp_path / "kb").close()
    base = KnowledgeBase.open(tmp_path / "kb")
    report = base.add_texts([*PAGES[:2], {"text": "The Po flows through Turin.", "source": "Po"}, PAGES[2]])
    assert (report.added, report.replaced, report.unchanged) == (1, 0, 3)
    report = base.add_texts([{"text": "The Po flows through Piacenza.", "source": "Po"}])
    assert report.replaced == 1 and len(base) == 4 and not base.search("Turin")
    with pytest.raises(UsageError):
        KnowledgeBase.from_texts(PAGES, tmp_path / "kb")


@pytest.mark.parametrize(
    ("texts", "kind", "words"),
    [
        ([], DataError, "No text was given"),
        (["one", " \n"], DataError, "Document 2 has no text"),
        ([{"title": "one"}], DataError, "Document 1 has no text"),
        ([{"text": "one", "url": "x"}], UsageError, "url. Allowed are text, title, source"),
        ("one text", UsageError, "one text ('one text')"),
    ],
)
def test_what_is_no_list_of_texts_is_refused_and_leaves_nothing_behind(tmp_path, texts, kind, words):
    config.left = 0
    with pytest.raises(kind) as caught:
        KnowledgeBase.from_texts(texts, tmp_path / "kb")
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_many_threads_ask_at_once_what_one_thread_made():
    base = KnowledgeBase.from_texts(f"Town {number} lies on river {number * 7}." for number in range(60))
    asked = [f"Which river for town {number}?" for number in range(60)] * 3
    alone = [base.search(one, k=1)[0].passage.text for one in asked]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: base.search(one, k=1)[0].passage.text, asked))
    assert found == alone
