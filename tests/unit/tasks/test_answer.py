"""Answers in every shape in which people write them, found where they are meant to stand, or refused by name."""

from typing import Any

import numpy as np
import pytest

from trifold.data.rows import Row
from trifold.errors import DataError, MissingValueError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Record, SpanQA, build_task
from trifold.tasks.answer import find_place, read_answers
from trifold.tasks.equip import equip
from trifold.text import train_tokenizer

CONTEXT = "Li Na came home. Then Li Na slept."
HUB = "{'text': array(['Li Na'], dtype=object), 'answer_start': array([22], dtype=int32)}"


def read(value: Any, context: str = CONTEXT, **more: Any):
    guesses = []
    names = {"start": "answer_start", "impossible": "is_impossible"}
    columns = {"answers": "answers", **{role: name for role, name in names.items() if name in more}}
    row = Row({"answers": value, **more}, "a.jsonl:7")
    return read_answers(row, columns, context, guessed=lambda: guesses.append(1)), len(guesses)


@pytest.mark.parametrize(
    ("value", "more", "wanted", "guesses"),
    [
        ({"text": ["Li Na"], "answer_start": [22]}, {}, 22, 0),
        ({"text": ["Li Na"], "answer_start": ["22"]}, {}, 22, 0),
        ({"text": ["Li Na"], "answer_start": [22.0]}, {}, 22, 0),
        ({"text": "Li Na", "answer_start": 22}, {}, 22, 0),
        ({"text": ["Li Na"]}, {}, 0, 1),
        ({"text": ["Li Na"], "answer_start": []}, {}, 0, 1),
        ({"text": ["Li Na"], "answer_start": [None]}, {}, 0, 1),
        ({"text": ["came home"]}, {}, 6, 0),
        ([{"text": "Li Na", "answer_start": 22}], {}, 22, 0),
        ([{"text": "Li Na", "start": -1}], {}, 0, 1),
        ([{"answer": "Li Na", "start": 20}], {}, 22, 0),
        (["Li Na"], {"answer_start": [22]}, 22, 0),
        ("Li Na", {"answer_start": "22"}, 22, 0),
        ("slept", {}, 28, 0),
        (" slept ", {}, 28, 0),
        ("['slept']", {}, 28, 0),
        (HUB, {}, 22, 0),
        ('{"text": ["Li Na"], "answer_start": [22]}', {}, 22, 0),
        ([{"text": "Li Na", "answer_start": 22}], {"is_impossible": False}, 22, 0),
    ],
)
def test_an_answer_is_found_in_every_shape(value, more, wanted, guesses):
    ((text, start),), told = read(value, **more)
    assert CONTEXT.startswith(text, start) and (start, told) == (wanted, guesses)


@pytest.mark.parametrize(
    ("value", "more"),
    [
        ([], {}), ("", {}), ({"text": [], "answer_start": []}, {}), ({"text": [""], "answer_start": [-1]}, {}),
        ([{"text": "", "answer_start": 0}], {}), ([""], {}), ("[]", {}),
        ([], {"is_impossible": True}), (None, {"is_impossible": True}), ({"text": [""]}, {"is_impossible": "True"}),
        ([], {"is_impossible": True, "plausible_answers": [{"text": "Li Na", "answer_start": 0}]}),
    ],
)  # fmt: skip
def test_no_answer_is_no_answer_in_every_shape(value, more):
    assert read(value, **more) == ((), 0)


@pytest.mark.parametrize(
    ("value", "more", "part"),
    [
        ({"text": ["Li Na", "slept"], "answer_start": [0]}, {}, "2 texts but 1 places"),
        ({"text": ["Li Na"], "answer_start": [0, 22]}, {}, "1 texts but 2 places"),
        ({"text": ["Li Na"], "answer_start": ["soon"]}, {}, "answer_start is 'soon'"),
        ({"text": ["Li Na"], "answer_start": [1.5]}, {}, "answer_start is '1.5'"),
        ([{"text": "Li Na", "answer_start": True}], {}, "answer_start is 'True'"),
        ({"text": ["Otto"], "answer_start": [0]}, {}, "'Otto' does not stand"),
        ("Otto", {}, "'Otto' does not stand"),
        ("Li Na", {"is_impossible": True}, "marked as impossible"),
        ({"text": [None]}, {}, "NoneType"),
        ({"words": ["Li Na"]}, {}, "NoneType"),
        ([["Li Na", 0]], {}, "list"),
        (True, {}, "bool"),
    ],
)
def test_a_damaged_answer_is_refused_with_its_line(value, more, part):
    with pytest.raises(DataError, match=part) as refused:
        read(value, **more)
    assert "a.jsonl:7" in str(refused.value) and not isinstance(refused.value, MissingValueError)


def test_a_row_without_a_word_about_its_answer_is_missing_one():
    for value in (None, float("nan")):
        with pytest.raises(MissingValueError):
            read(value)


def test_places_are_characters_utf16_units_or_bytes_or_near():
    context = "😀 Anna slept all day. In the evening Anna waved. 北京。"
    second = context.rindex("Anna")
    for start in (second, second + 1, second + 3, second - 4, second + 9, 400):
        assert find_place(context, "Anna", start) == second
    assert find_place(context, "Anna", 0) == find_place(context, "Anna", 6) == 2
    dice = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(dice.choice(list("ab京😀"), 40))
        start = int(dice.integers(0, 38))
        answer = text[start : start + int(dice.integers(1, 3))]
        assert find_place(text, answer, start) == start
        near = find_place(text, answer, int(dice.integers(0, 90)))
        assert text.startswith(answer, near)


def test_a_long_question_keeps_both_its_ends_and_is_counted():
    tokenizer = train_tokenizer(["w1 w2 who sang in rome"] * 20, kind="byte_bpe", vocab_size=300)
    model = Transformer.from_preset("bert", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1, max_length=24)
    task = build_task(SpanQA(max_length=48, max_question=20), tokenizer, model.config)  # the model has 24 places
    equip(model, task)
    long = Record(("first " + "w1 w2 " * 30 + "last?", "in rome ida sang " * 3), (("rome", 3),))
    ((example,), *_) = task.examples([long, Record(("who?", "in rome"), (("rome", 3),))])
    assert example.source is not None
    asked = tokenizer.decode(example.source[1:13])
    assert asked.startswith("f") and asked.endswith("?") and len(example.source) <= 24
    cut = task.frame.take_cut()
    assert (cut.texts, cut.cut, cut.setting) == (2, 1, "task.max_question")
    assert task.predict(model, [long])[0].answer in long.inputs[1]
