"""How much vectors count: what a poor embedder cannot spoil, and what a good one gains."""

import zlib

import numpy as np
import pytest

from trifold.errors import ConfigError
from trifold.retrieval import KnowledgeBase
from trifold.retrieval.weight import WEIGHTS, choose_weight

SUBJECTS = 60
NAMES = [f"{first}{last}" for first in ("ka", "lo", "mi", "ru", "se") for last in ("ban", "dor", "fel", "gim", "nat",
         "pol", "quis", "rek", "sum", "tav", "vor", "wex")]  # fmt: skip


def page(number: int) -> str:
    """A passage of five sentences about one subject, which has another name in each."""
    return " ".join(f"The {NAMES[number]}{part} is often seen in spring, and its colour is grey." for part in "abcde")


class Noise:
    """A vector that has nothing to do with the text: the worst that an embedder can be."""

    name = "noise"

    def embed(self, texts, *, query=False):
        drawn = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(16) for text in texts]
        return (np.array(drawn) / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


class Knowing:
    """Knows which names mean the same subject."""

    name = "knowing"

    def embed(self, texts, *, query=False):
        table = np.array([[text.count(f"{name}") for name in NAMES] for text in texts], np.float32) + 1e-3
        return table / np.linalg.norm(table, axis=1, keepdims=True)


def base_of(embedder, tmp_path) -> KnowledgeBase:
    return KnowledgeBase.from_texts([page(number) for number in range(SUBJECTS)], tmp_path / "kb", embedder=embedder)


def first(base: KnowledgeBase, question: str, **how) -> str:
    return base.search(question, 1, **how)[0].passage.text


def test_a_search_is_never_below_words_alone_whatever_the_embedder(tmp_path):
    base = base_of(Noise(), tmp_path)
    questions = [f"Where is the {NAMES[number]}c seen?" for number in range(SUBJECTS)]
    right = [page(number) for number in range(SUBJECTS)]
    assert [first(base, asked) for asked in questions] == right
    assert [first(base, asked, embedder=Noise()) for asked in questions] == right and base.vector_weight == 0.0
    equal = [first(base, asked, embedder=Noise(), weight=0.9) for asked in questions]
    assert np.mean([one == other for one, other in zip(equal, right, strict=True)]) < 0.5, "the weight is what saves it"
    orders = [[hit.document for hit in base.search(questions[0], 9, **how)] for how in ({}, {"embedder": Noise()})]
    assert orders[0] == orders[1]


def test_a_good_embedder_finds_what_words_do_not(tmp_path):
    base = base_of(Knowing(), tmp_path)
    questions = [f"Where is the {NAMES[number]}z seen?" for number in range(SUBJECTS)]
    right = [page(number) for number in range(SUBJECTS)]
    found = {
        name: np.mean([first(base, asked, **how) == text for asked, text in zip(questions, right, strict=True)])
        for name, how in {"words": {}, "both": {"embedder": Knowing()}}.items()
    }
    assert base.vector_weight is not None and base.vector_weight > 0
    assert found["words"] < 0.1 and found["both"] == 1.0


def test_vectors_answer_where_words_find_nothing_at_any_weight(tmp_path):
    base = base_of(Knowing(), tmp_path)
    asked = f"{NAMES[7]}z?"
    assert base.search(asked) == []
    assert first(base, asked, embedder=Knowing(), weight=0.0) == page(7)


def test_a_base_from_before_is_searched_by_words_until_it_is_measured(tmp_path):
    base = base_of(Knowing(), tmp_path)
    with base._store.transaction():
        base._base.execute("DELETE FROM facts WHERE name IN ('vector_weight', 'weighed')")
    old, asked = KnowledgeBase.open(tmp_path / "kb"), f"Where is the {NAMES[7]}z seen?"
    assert old.vector_weight is None
    assert first(old, asked, embedder=Knowing()) == first(old, asked)
    old.add_texts([page(0)], embedder=Knowing())
    assert old.vector_weight and first(old, asked, embedder=Knowing()) == page(7)


def test_measuring_leaves_the_words_of_the_base_as_they_were(tmp_path):
    base, plain = base_of(Knowing(), tmp_path), KnowledgeBase.from_texts([page(number) for number in range(SUBJECTS)])
    for asked in ("spring colour", f"{NAMES[3]}e", f"the {NAMES[5]}a is grey"):
        assert [hit.score for hit in base.search(asked, 60)] == [hit.score for hit in plain.search(asked, 60)]


@pytest.mark.parametrize(
    ("meaning", "words", "chosen"),
    [
        (0.2, 0.0, True),
        (0.2, -0.01, True),
        (0.2, -0.03, False),
        (-0.2, 0.01, False),
        (0.0, 0.0, False),
    ],
)
def test_a_loss_where_words_are_repeated_counts_nine_times(meaning, words, chosen):
    tables = []
    for gain in (meaning, words):
        table = np.full((40, len(WEIGHTS)), 0.5)
        table[:, 3] += gain
        tables.append(table)
    assert choose_weight(*tables) == (WEIGHTS[3] if chosen else 0.0)


def test_a_gain_that_may_be_chance_is_none():
    table = np.full((40, len(WEIGHTS)), 0.5)
    table[:2, 3] = 1.0
    assert choose_weight(table, np.full_like(table, 0.5)) == 0.0


def test_a_weight_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        base_of(None, tmp_path).search("spring", weight=1.5)
