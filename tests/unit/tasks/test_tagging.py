"""Tags stand where their words stand: for every tokenizer, any word, any length; and texts are cut as the data was."""

from typing import Any

import numpy as np
import pytest

from trifold.batch import IGNORED
from trifold.data.rows import Row
from trifold.errors import ConfigError, DataError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Record, Tagging, build_task
from trifold.tasks.build import complete
from trifold.tasks.equip import equip
from trifold.tasks.sentence import windows
from trifold.tasks.units import cut, find_units, joined, places, spaced
from trifold.text import train_tokenizer

TEXTS = ["张强来到成都", "Anna Meyer lives in Berlin.", "hello world 你好"]
ODD = ["\u200b", "", " ", "\u3000", "👍🏽", "鿕", "\ufeff", "\t", "née", "▁", "##", "[SEP]", "</s>", "\x00"]
KINDS = ("wordpiece", "byte_bpe", "bpe", "unigram", "character")


def tagger(kind: Any, preset: str, **settings: Any) -> tuple[Any, Any]:
    tokenizer = train_tokenizer(TEXTS * 20, kind=kind, vocab_size=330)
    overrides = {"num_layers": 1, "d_model": 16, "num_heads": 2, "vocab_size": tokenizer.vocab_size}
    model = Transformer.from_preset(preset, size="tiny", **overrides)
    task = build_task(Tagging(labels=("A", "B", "C"), **settings), tokenizer, model.config)
    equip(model, task)
    return task, model


@pytest.mark.parametrize("preset", ["bert", "gpt2"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [["张", "强", "来", "到"], ["Anna", "lives", "in", "Berlin"]])
def test_each_word_has_its_own_tag_whatever_stands_beside_it(kind, preset, words):
    (task, model), seen = tagger(kind, preset), 0
    for odd in ODD:
        for at in range(len(words) + 1):
            mixed = (*words[:at], odd, *words[at:])
            gold = tuple("ABC"[number % 3] for number in range(len(mixed)))
            ((example,),) = task.examples([Record(mixed, gold)])
            (marked,) = np.nonzero(example.labels != IGNORED)
            assert "".join("ABC"[one] for one in example.labels[marked]) == "".join(gold), (odd, at)
            ids = example.source if preset == "bert" else example.target
            for word, place, following in zip(mixed, marked, [*marked[1:], len(ids) - 1], strict=True):
                read = task.tokenizer.decode(ids[place:following] if preset == "bert" else ids[: place + 1])
                if word in words and word in read:  # else its letters are unknown to this tokenizer
                    seen += 1
                    bare = read.strip()
                    assert (bare.startswith if preset == "bert" else bare.endswith)(word), (mixed, read)
    assert seen > 100
    records = [Record((*words, odd)) for odd in ODD]
    assert [len(one.answer) for one in task.predict(model, records)] == [len(words) + 1] * len(ODD)


def test_chinese_words_are_read_as_the_sentence_is():
    for kind in ("wordpiece", "byte_bpe", "bpe"):
        task, _ = tagger(kind, "bert", units="characters")
        ((example,),) = task.examples([Record(tuple("张强来到成都"), tuple("ABCABC"))])
        alone = task.tokenizer.encode_ids(list("张强来到成都"), plain=True)
        assert example.source.tolist() == [*task.frame.first, *np.concatenate(alone).tolist(), task.frame.end]


@pytest.mark.parametrize("back", [False, True])
def test_windows_label_each_word_once_and_fit(back):
    dice = np.random.default_rng(0)
    for _ in range(200):
        room = int(dice.integers(1, 12))
        sizes = dice.integers(1, room + 1, dice.integers(1, 40)).tolist()
        found = windows(sizes, room, back=back)
        assert [number for *_, first, end in found for number in range(first, end)] == list(range(len(sizes)))
        for start, stop, first, end in found:
            assert sum(sizes[start:stop]) <= room and start <= first <= end <= stop


@pytest.mark.parametrize("preset", ["bert", "gpt2"])
def test_a_long_sentence_is_tagged_to_its_end(preset):
    task, model = tagger("byte_bpe", preset, max_length=12)
    words = tuple(f"w{number}" for number in range(60))
    gold = tuple("ABC"[number % 3] for number in range(60))
    examples = [one for part in task.examples([Record(words, gold)]) for one in part]
    assert len(examples) > 5 and all(len(one.labels) <= 12 for one in examples)
    labels = np.concatenate([one.labels[one.labels != IGNORED] for one in examples])
    assert labels.tolist() == [number % 3 for number in range(60)]
    (long, short), (alone,) = (
        task.predict(model, [Record(words), Record(words[:2])]),
        task.predict(model, [Record(words)]),
    )
    assert len(long.answer) == 60 and len(short.answer) == 2 and long.answer == alone.answer
    (huge,) = task.predict(model, [Record(("a", "x" * 500, "b"))])
    assert len(huge.answer) == 3


@pytest.mark.parametrize(
    ("sentences", "units"),
    [
        ([list("张强来到成都")], "characters"),
        ([["在", "2008", "年", "，", "WTO"]], "words"),
        ([["我们", "喜欢", "北京", "。"]], "segments"),
        ([["Anna", "lives", "in", "Berlin", "."]], "words"),
        ([["Anna", "does", "n't", "sing", "."]], "treebank"),
        ([["Anna", "lives", "in", "Berlin."]], "spaces"),
        ([["\u200b", "张", "强"]], "characters"),
    ],
)
def test_what_the_tokens_of_a_data_set_are_is_found(sentences, units):
    columns = {"tokens": "tokens", "tags": "tags"}
    rows = [
        (Row({"tokens": words, "tags": ["A", "B", *["A"] * (len(words) - 2)]}, "a"), columns) for words in sentences
    ]
    assert find_units(sentences) == units
    wanted, _ = complete(Tagging(), rows)
    assert isinstance(wanted, Tagging) and wanted.units == units
    for words in sentences:
        assert cut(joined(words, units), units) == tuple(words)


@pytest.mark.parametrize(
    ("text", "units", "wanted"),
    [
        ("王伟来到北京 today.", "words", "王 伟 来 到 北 京 today ."),
        ("他说：“你好！”", "words", "他 说 ： “ 你 好 ！ ”"),
        ("我们喜欢北京", "segments", "我们 喜欢 北京"),
        ("It costs $1,000.50 (3.5%).", "words", "It costs $ 1,000.50 ( 3.5 % ) ."),
        ("well-known, isn't it?", "words", "well-known , isn't it ?"),
        ("Anna's dog can't sing", "treebank", "Anna 's dog ca n't sing"),
        ("👨‍👩‍👧 hi 👍🏽!", "words", "👨‍👩‍👧 hi 👍🏽 !"),
        ("नमस्ते दुनिया", "words", "नमस्ते दुनिया"),
        ("a b\u3000c", "characters", "a b c"),
        ("Anna, hi.", "spaces", "Anna, hi."),
    ],
)
def test_a_text_is_cut_into_units(text, units, wanted):
    assert " ".join(cut(text, units)) == wanted
    assert all(text[start:end] == word for (start, end), word in zip(places(text, cut(text, units)), cut(text, units),
                                                                     strict=True))  # fmt: skip


def test_no_space_stands_beside_a_chinese_character():
    assert joined(["Anna", "在", "Berlin", "，", "ok", "now"], "words") == "Anna在Berlin，ok now"
    assert spaced(list("USA"), "characters") == [False] * 3


def test_rows_are_read_in_every_shape():
    task, _ = tagger("wordpiece", "bert")
    wanted = (("张", "强", "来"), ("A", "B", "C"))
    for tokens, tags in (
        (["张", "强", "来"], ["A", " B", "C "]),
        ("张强来", ["A", "B", "C"]),
        ("张强来", "A B C"),
        ("张 强 来", "A B C"),
        ("['张', '强', '来']", "['A', 'B', 'C']"),
        ('["张", "强", "来"]', '["A", "B", "C"]'),
        ("['张' '强' '来']", "['A' 'B' 'C']"),
    ):
        found = task.record(Row({"x": tokens, "y": tags}, "a:1"), {"tokens": "x", "tags": "y"})
        assert (found.inputs, found.gold) == wanted, tokens
    found = task.record(Row({"x": "[3] Anna sang", "y": "A B C"}, "a:1"), {"tokens": "x", "tags": "y"})
    assert found.inputs == ("[3]", "Anna", "sang")
    found = task.record(Row({"x": [2008, 1.0, True]}, "a:1"), {"tokens": "x"})
    assert found.inputs == ("2008", "1", "True")


@pytest.mark.parametrize(
    ("tokens", "tags", "part"),
    [
        (["a", "b"], ["A"], "2 words but 1 tags"),
        ("a b c", ["A"], "3 words but 1 tags"),
        (["a", None], ["A", "B"], "NoneType"),
        (["a", ["b"]], ["A", "B"], "list"),
        ("a b", [[0, 1, "A"]], "one tag for each"),
        ("a b", [{"start": 0, "end": 1, "label": "A"}], "one tag for each"),
        (["a", "b"], ["A", "Z"], "'Z'"),
        ([], [], "a:1"),
        (["a"], None, "a:1"),
        ({"a": 1}, ["A"], "dict"),
    ],
)
def test_what_is_no_tagged_sentence_is_refused_by_name(tokens, tags, part):
    task, _ = tagger("wordpiece", "bert")
    with pytest.raises(DataError, match=part) as refused:
        task.record(Row({"x": tokens, "y": tags}, "a:1"), {"tokens": "x", "tags": "y"})
    assert "a:1" in str(refused.value)


def test_a_scheme_can_be_named_if_the_tags_are_of_it():
    tokenizer = train_tokenizer(TEXTS * 20, kind="wordpiece", vocab_size=330)
    model = Transformer.from_preset("bert", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1)
    cases: list[tuple[str, Any, int, str]] = [
        ("O B-X I-X", "auto", 2, "default), BIO"),
        ("O B-X I-X", "iob2", 2, "strict), IOB2"),
        ("O X-B X-I", "iob1", 2, "suffixes"),
        ("O B-X I-X", "none", 1, ""),
        ("N V", "auto", 1, ""),
    ]
    for labels, scheme, metrics, told in cases:
        task = build_task(Tagging(labels=tuple(labels.split()), scheme=scheme), tokenizer, model.config)
        assert len(task.metrics) == metrics
        gold = [Record(("a",), (labels.split()[0],))]
        found = task.measure(gold, task.predict(equipped(model, task), gold))
        assert list(found) == list(task.metrics) and told in found[task.metrics[0]].signature
    with pytest.raises(ConfigError, match="task.scheme=bilou"):
        build_task(Tagging(labels=("O", "B-X", "M-X"), scheme="bilou"), tokenizer, model.config)


def equipped(model, task):
    equip(model, task)
    return model
