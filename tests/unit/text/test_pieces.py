"""Ids piece by piece: those of the tokenizer, for any text, whatever was read before."""

import copy
import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from trifold.native import load_library
from trifold.text import Tokenizer, pieces, train_tokenizer
from trifold.text import codec as module
from trifold.text.pattern import cuts
from trifold.text.pieces import Pieces, reads_in_pieces

compiled = pytest.mark.skipif(load_library(pieces.SOURCE) is None, reason="no compiler")
WORDS = [
    "low",
    "lower",
    "naïve",
    "l'été",
    "don't",
    "I'll",
    "3.14",
    "2026",
    "中文",
    "慢慢",
    "ｆｕｌｌ",
    "привет",
    "…",
    "“so”",
    "e\u0301",
    "\u0301",
]
SPACES = [" ", "  ", "\n", "\n\n", " \n", "\t", "\r\n", "\u00a0", "\u3000", "\u2009", "\u0085", "", "\u200b", "\ufeff"]
TEXTS = st.lists(
    st.one_of(st.sampled_from(WORDS), st.sampled_from(SPACES), st.text(max_size=3), st.just("</s>")), max_size=40
)


def published() -> Tokenizer:
    """As GPT-2's is, with its own pattern."""
    learned = train_tokenizer([" ".join(WORDS) * 3] * 5, kind="byte_bpe", vocab_size=420)
    data = json.loads(learned.backend.to_str())["model"]
    merges = [tuple(one) if isinstance(one, list) else tuple(one.split(" ")) for one in data["merges"]]
    backend = Backend(models.BPE(data["vocab"], merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return Tokenizer(backend, kind="byte_bpe", roles={})


OURS, THEIRS = train_tokenizer([" ".join(WORDS) * 3] * 5, kind="byte_bpe", vocab_size=420), published()


def asked(tokenizer: Tokenizer, texts: list[str], *, plain: bool) -> list[list[int]]:
    tokenizer.backend.encode_special_tokens = plain
    return [one.ids for one in tokenizer.backend.encode_batch(texts, add_special_tokens=False)]


def in_pieces(tokenizer: Tokenizer, *, plain: bool) -> bool:
    """Whether the last texts went that way."""
    tables = module._TABLES[tokenizer.codec]
    return any(isinstance(table, Pieces) for (way, *_), table in tables.items() if way == plain)


@pytest.fixture(scope="module", autouse=True)
def even_for_few() -> Iterator[None]:
    """The table, however short the texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MANY", 0)
        yield


@compiled
@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.booleans(), st.sampled_from([OURS, THEIRS]))
def test_ids_are_those_of_the_tokenizer(parts, plain, tokenizer):
    texts = ["".join(part) for part in parts]
    made = tokenizer.encode_ids(texts, plain=plain)
    assert [ids.tolist() for ids in made] == asked(tokenizer, texts, plain=plain)
    assert all(ids.dtype == np.int64 for ids in made)
    assert in_pieces(tokenizer, plain=plain) is (plain or tokenizer is THEIRS)  # our mask takes the space before it


@compiled
@pytest.mark.parametrize("room", [{"MOST": 8}, {"LETTERS": 64}, {"IDS": 16}, {"LONGEST": 3}, {"TOGETHER": 2}])
def test_when_there_is_no_room_all_is_forgotten_and_the_ids_stay_the_same(monkeypatch, room):
    for name, value in room.items():
        monkeypatch.setattr(pieces, name, value)
    table = Pieces(lambda texts: asked(OURS, texts, plain=True), OURS.token_bytes())
    texts = [f"{first} {second} lower, {second}\n{first}" for first in WORDS for second in WORDS]
    for _ in range(2):
        assert [ids.tolist() for ids in table.encode(texts)] == asked(OURS, texts, plain=True)


@compiled
def test_each_piece_is_asked_for_once():
    calls: list[str] = []

    def ask(texts: list[str]) -> list[list[int]]:
        calls.extend(texts)
        return asked(OURS, texts, plain=True)

    table = Pieces(ask, OURS.token_bytes())
    table.encode(["so low is lower", "lower is so low"])
    table.encode(["so low is lower"] * 3)
    assert calls == [" low is lower so", "so", "lower"]


@compiled
def test_a_failing_tokenizer_leaves_no_piece_without_ids():
    broken = [True]

    def ask(texts: list[str]) -> list[list[int]]:
        if broken[0]:
            raise RuntimeError("no")
        return asked(OURS, texts, plain=True)

    table = Pieces(ask, OURS.token_bytes())
    with pytest.raises(RuntimeError):
        table.encode(["so low is lower"])
    broken[0] = False
    assert table.encode(["so low is lower"])[0].tolist() == asked(OURS, ["so low is lower"], plain=True)[0]


@compiled
def test_a_token_added_later_is_seen():
    tokenizer = published()
    text = "so low is lower"
    before = tokenizer.encode_ids([text])[0].tolist()
    tokenizer.backend.add_tokens(["low"])
    after = tokenizer.encode_ids([text])[0].tolist()
    assert after == asked(tokenizer, [text], plain=False)[0]
    assert after != before
    assert copy.deepcopy(tokenizer).encode_ids([text])[0].tolist() == after


def test_tokenizers_of_other_kinds_are_asked_for_whole_texts():
    settings_of = json.loads(OURS.backend.to_str())
    assert reads_in_pieces(settings_of, (cuts(32),), plain=True)
    assert not reads_in_pieces(settings_of, (cuts(32),))  # <mask> takes the space before it
    assert not reads_in_pieces(settings_of, ("another",), plain=True)
    for change in ({"normalizer": {"type": "NFC"}}, {"model": {**settings_of["model"], "type": "Unigram"}},
                   {"model": {**settings_of["model"], "dropout": 0.1}}, {"pre_tokenizer": None},
                   {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}}):  # fmt: skip
        assert not reads_in_pieces({**settings_of, **change}, (cuts(32),), plain=True)
    spaced = published()
    spaced.backend.add_tokens([AddedToken("two words", lstrip=False)])
    assert not reads_in_pieces(json.loads(spaced.backend.to_str()), ())
    greedy = published()
    greedy.backend.add_tokens([AddedToken("<x>", lstrip=True)])
    assert not reads_in_pieces(json.loads(greedy.backend.to_str()), ())
    other = train_tokenizer(["low lower lowest"] * 9, kind="wordpiece", vocab_size=60)
    assert other.encode_ids(["low lower"])[0].tolist() == asked(other, ["low lower"], plain=False)[0]


def test_a_short_text_makes_no_table(monkeypatch):
    monkeypatch.setattr(module, "MANY", 2**17)
    tokenizer = published()
    assert tokenizer.encode_ids(["so low"])[0].tolist() == asked(tokenizer, ["so low"], plain=False)[0]
    assert tokenizer.codec not in module._TABLES


def test_without_a_compiler_the_tokenizer_does_it_all(monkeypatch):
    monkeypatch.setattr(pieces, "_load", lambda: None)
    table = Pieces(lambda texts: asked(OURS, texts, plain=True), OURS.token_bytes())
    assert table.encode(["so low"])[0].tolist() == asked(OURS, ["so low"], plain=True)[0]
