"""How much vectors count: what a poor embedder cannot spoil, and what a good one gains."""

import zlib
from itertools import combinations, permutations

import numpy as np
import pytest

from trifold.errors import ConfigError
from trifold.retrieval import KnowledgeBase
from trifold.retrieval.weight import WEIGHTS, choose_weight

SUBJECTS, ORDERS = 60, list(permutations("anna otto mary paul sang came".split()))[::12]
NAMES = [f"{first}{last}" for first in ("ka", "lo", "mi", "ru", "se") for last in ("ban", "dor", "fel", "gim", "nat",
         "pol", "quis", "rek", "sum", "tav", "vor", "wex")]  # fmt: skip


def page(number: int) -> str:
    """A passage about one subject, which has another name in each sentence."""
    return " ".join(f"The {NAMES[number]}{part} is often seen in spring, and its colour is grey." for part in "abcde")


class Noise:
    """A vector that has nothing to do with the text: the worst that an embedder can be."""

    name = "noise"

    def embed(self, texts, *, query=False):
        drawn = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(16) for text in texts]
        return (np.array(drawn) / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


class Ordered:
    """Knows what words do not say: which of them comes before which."""

    name = "ordered"

    def embed(self, texts, *, query=False):
        table = np.full((len(texts), 64), 1e-3, np.float32)
        for row, text in enumerate(texts):
            for one, other in combinations(text.split(), 2):
                table[row, PAIRS[one, other]] = 1
        return table / np.linalg.norm(table, axis=1, keepdims=True)


PAIRS = {pair: number for number, pair in enumerate(permutations(ORDERS[0], 2))}


def base_of(embedder, tmp_path) -> KnowledgeBase:
    return KnowledgeBase.from_texts([page(number) for number in range(SUBJECTS)], tmp_path / "kb", embedder=embedder)


def orders_of(tmp_path) -> KnowledgeBase:
    return KnowledgeBase.from_texts([" ".join(words) for words in ORDERS], tmp_path / "kb", embedder=Ordered())


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
    base, asked = orders_of(tmp_path), [" ".join(words[:5]) for words in ORDERS]
    assert base.vector_weight is not None and base.vector_weight > 0
    found = {
        name: np.mean([first(base, text, **how).startswith(text) for text in asked])
        for name, how in {"words": {}, "both": {"embedder": Ordered()}}.items()
    }
    assert found["words"] < 0.1 and found["both"] > 0.9


def test_vectors_answer_where_words_find_nothing_at_any_weight(tmp_path):
    base = KnowledgeBase.from_texts(["The Nile.", "The Rhine."], embedder=Noise())
    assert base.vector_weight == 0.0 and base.search("Danube") == []
    assert len(base.search("Danube", embedder=Noise())) == 2


def test_a_base_from_before_is_searched_by_words_until_it_is_measured(tmp_path):
    base, asked = orders_of(tmp_path), " ".join(ORDERS[7][:5])
    with base._store.transaction():
        base._base.execute("DELETE FROM facts WHERE name IN ('vector_weight', 'weighed')")
    old = KnowledgeBase.open(tmp_path / "kb")
    assert old.vector_weight is None
    assert first(old, asked, embedder=Ordered()) == first(old, asked)
    assert old.add_texts([" ".join(ORDERS[0])], embedder=Ordered()).unchanged == 1
    assert old.vector_weight and first(old, asked, embedder=Ordered()) == " ".join(ORDERS[7])


def test_a_gain_that_may_be_chance_is_none():
    table = np.full((40, len(WEIGHTS)), 0.5)
    table[:2, 3] = 1.0
    assert choose_weight(table) == 0.0
    table[:, 3] = 1.0
    assert choose_weight(table) == WEIGHTS[3]


def test_a_weight_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        base_of(None, tmp_path).search("spring", weight=1.5)
