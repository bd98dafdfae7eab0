"""Test texts that the training data know are found, and no others."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trifold.errors import ConfigError
from trifold.evaluation import contamination
from trifold.evaluation.contamination import find_overlap


def test_planted_copies_are_found_and_strangers_are_not():
    dice = np.random.default_rng(6)
    words = [f"w{number}" for number in range(2000)]
    train = [" ".join(dice.choice(words, 30)) for _ in range(300)]
    fresh = [" ".join(dice.choice(words, 30)) for _ in range(50)]
    near = [" ".join([*text.split()[:24], "quite", "another", "end"]) for text in train[:20]]
    found = find_overlap(train, [*fresh, *(text.upper() + "!" for text in train[20:30]), *near])
    assert found.exact == tuple(range(50, 60))
    assert found.near == tuple(range(50, 80))
    assert find_overlap(["研究生命的起源，是生物学的重要问题。"], ["研究生命的起源是生物学的重要问题"]).exact == (0,)
    assert find_overlap(["好"], ["", "坏"]).near == ()


ALPHABETS = {"words": (np.array([f"w{number}" for number in range(5000)]), " "),
             "characters": (np.array([chr(0x4E00 + number) for number in range(3000)]), "")}  # fmt: skip


@pytest.fixture(params=ALPHABETS)
def corpus(request):
    """Training texts as rows, what to draw other words from, and how rows become texts."""
    alphabet, join = ALPHABETS[request.param]
    dice = np.random.default_rng(8)
    return [list(dice.choice(alphabet, 60)) for _ in range(500)], lambda: dice.choice(alphabet), join.join


def edited(row, draw, places):
    return [draw() if at in places else word for at, word in enumerate(row)]


@pytest.mark.parametrize("begin", [0, 24, 48])
def test_b8_copies_of_which_a_fifth_was_written_anew_are_all_found_and_no_random_text(corpus, begin):
    train, draw, text = corpus
    near = [text(edited(row, draw, range(begin, begin + 12))) for row in train[:100]]
    fresh = [text(edited(row, draw, range(60))) for row in train[:100]]
    exact = [text(row) for row in train[100:200]]
    found = find_overlap(map(text, train), [*near, *exact, *fresh])
    assert found.exact == tuple(range(100, 200))
    assert found.near == tuple(range(200))


def test_b8_scattered_edits_are_found_by_short_n_grams(corpus):
    train, draw, text = corpus
    dice = np.random.default_rng(9)
    near = [text(edited(row, draw, set(dice.choice(60, 12, replace=False)))) for row in train[:200]]
    fresh = [text(edited(row, draw, range(60))) for row in train[:200]]
    found = find_overlap(map(text, train), [*near, *fresh], order=3, han_order=3, share=0.25)
    assert sum(place < 200 for place in found.near) >= 190
    assert max(found.near) < 200, "0 random texts"


def plain(train, test, order, share):
    """The definition, with sets of tuples."""
    grams = lambda row: [tuple(row[n : n + order]) for n in range(len(row) - order + 1)]
    rows, known = [one.split() for one in test], [one.split() for one in train]
    seen = {gram for row in known for gram in grams(row)}
    shares = [np.mean([gram in seen for gram in grams(row)]) if grams(row) else 0.0 for row in rows]
    exact = tuple(n for n, row in enumerate(rows) if row and row in known)
    near = tuple(n for n, part in enumerate(shares) if part >= share or n in exact)
    return exact, near, tuple(map(float, shares))


letters = st.lists(st.lists(st.sampled_from("a b c d".split()), max_size=12).map(" ".join), max_size=8)


@settings(max_examples=100, deadline=None)
@given(letters, letters, st.integers(1, 5), st.sampled_from([0.1, 0.5, 1.0]), st.sampled_from([1, 10, 1000]))
def test_equals_the_definition(train, test, order, share, group):
    before, contamination.GROUP = contamination.GROUP, group
    try:
        found = find_overlap(iter(train), test, order=order, share=share)
    finally:
        contamination.GROUP = before
    assert (found.exact, found.near, found.shares) == plain(train, test, order, share)


def test_an_n_gram_does_not_reach_from_one_text_into_the_next():
    assert find_overlap(["a b", "c d"], ["a b c d"], order=4).shares == (0.0,)
    assert find_overlap(["a b c d"], ["a b c d"], order=4).shares == (1.0,)


def test_chinese_texts_share_thirteen_characters():
    train = ["研究生命的起源是生物学的重要问题之一，也是人类长久以来的疑问。"]
    twelve, thirteen = "研究生命的起源是生物学的", "研究生命的起源是生物学的重"
    found = find_overlap(train, [twelve + "甲乙丙丁戊", thirteen])
    assert found.shares == (0.0, 1.0) and found.near == (1,) and found.exact == ()
    assert find_overlap(train, [twelve], han_order=8).near == (0,)


def test_latin_words_and_the_characters_beside_them_are_words_of_their_own():
    assert find_overlap(["使用 GPU 训练"], ["使用GPU训练", "使用gpu，训练。", "使用CPU训练"]).exact == (0, 1)


def test_width_case_and_punctuation_do_not_matter():
    assert find_overlap(["Ｈello， Ｗorld！"], ["hello world"]).exact == (0,)


def test_nothing_among_nothing():
    assert find_overlap([], ["a b"]).near == () and find_overlap(["a b"], []).shares == ()
    assert find_overlap(["", "!"], ["", "?"]).exact == ()


def test_every_process_finds_the_same_numbers():
    script = (
        "import numpy; from trifold.evaluation.contamination import _keys; print(_keys(numpy.arange(20), 8).tolist())"
    )
    run = [sys.executable, "-c", script]
    found = [
        subprocess.run(run, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1] == f"{contamination._keys(np.arange(20), 8).tolist()}\n"


@pytest.mark.parametrize("options", [{"order": 0}, {"han_order": 0}, {"share": 0.0}, {"share": 1.5}])
def test_nonsense_is_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        find_overlap(["a"], ["a"], **options)
