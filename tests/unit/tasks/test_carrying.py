"""Strings are exchanged for stand-ins and back; what a user writes like a stand-in is text; pairs learn to place them."""

import csv
from collections import Counter
from pathlib import Path

import pytest
import torch

from trifold.batch import IGNORED
from trifold.data.rows import Row
from trifold.errors import ConfigError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Translation
from trifold.tasks.carrying import COUNT, STAND_INS, Carrier, carry, carry_pair
from trifold.tasks.placing import SHARE, Placer
from trifold.tasks.record import Record
from trifold.text import Tokenizer, train_tokenizer

LINES = ["Anna sees 5 dogs at 17:45 in Berlin.", "Anna sieht um 17:45 Uhr 5 Hunde in Berlin.", "安娜17:45看见5条狗。"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(LINES * 9, kind="byte_bpe", vocab_size=400)


def sentences() -> list[tuple[str, list[str]]]:
    with (Path(__file__).parent / "carried_sentences.tsv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["sentence"], row["strings"].split(" ␟ ")) for row in rows]


def numbers_in(parts: tuple[str | int, ...]) -> list[int]:
    return [part for part in parts if isinstance(part, int)]


@pytest.mark.parametrize(
    ("source", "target", "laid"),
    [
        ("at 17:45 in 2024", "2024年17:45", (("at ", 0, " in ", 1), (1, "年", 0))),
        ("5 and 5", "5和5", ((0, " and ", 1), (0, "和", 1))),
        ("5 and 5", "5和五", (("5 and 5",), ("5和五",))),  # not equally often
        ("1,234.5 of 7", "1.234,5 von 7", (("1,234.5 of ", 0), ("1.234,5 von ", 0))),
        ("three", "3", (("three",), ("3",))),
        ("", "", ((), ())),
    ],
)
def test_what_stands_on_both_sides_equally_often_becomes_a_stand_in(source, target, laid):
    assert carry_pair(source, target) == laid


def test_a_source_has_a_stand_in_for_each_string_up_to_as_many_as_there_are():
    text = " ".join(map(str, range(100, 100 + COUNT + 3)))
    parts, strings = carry(text)
    assert numbers_in(parts) == list(range(COUNT)) and strings == text.split()[:COUNT]
    assert parts[-1] == f" {' '.join(text.split()[COUNT:])}"


@pytest.mark.parametrize("kind", ["byte_bpe", "bpe", "unigram", "character"])
def test_texts_come_back_exactly(kind):
    tokenizer = train_tokenizer([*LINES, *(text for text, _ in sentences())] * 2, kind=kind, vocab_size=500)
    carrier = Carrier(tokenizer)
    for text, strings in sentences():
        parts, carried = carry(text)
        assert carried == strings
        assert carrier.text(carrier.encode([parts])[0].tolist(), parts, carried) == text


def test_a_tokenizer_that_forgets_spaces_gets_them_back_beside_strings():
    carrier = Carrier(train_tokenizer(LINES * 9, kind="wordpiece", vocab_size=400))
    parts, strings = carry("Anna sees 5 dogs")
    assert carrier.text(carrier.encode([parts])[0].tolist(), parts, strings) == "Anna sees 5 dogs"
    parts, strings = carry("安娜看见5条狗")
    assert "看 见5条" in carrier.text(carrier.encode([parts])[0].tolist(), parts, strings)


def test_what_looks_like_a_stand_in_is_carried_like_everything_else(tokenizer):
    carrier = Carrier(tokenizer)
    for text in (f"{STAND_INS[0]} 7 {STAND_INS[1]}", "<extra_id_0", "extra_id_3>"):
        parts, strings = carry(text)
        ids = carrier.encode([parts])[0].tolist()
        assert carrier.text(ids, parts, strings) == text
        assert sum(token in carrier.ids for token in ids) == len(strings)


def test_stand_ins_that_nothing_was_carried_by_leave_nothing(tokenizer):
    carrier = Carrier(tokenizer)
    dog = tokenizer.encode("dog").ids.tolist()
    assert carrier.text([carrier.ids[3], *dog, carrier.ids[0]], (0,), ["5"]) == "dog5"
    assert carrier.text([], (), []) == ""


def test_strings_that_were_apart_do_not_run_together(tokenizer):
    carrier = Carrier(tokenizer)
    for text, written in (("5 and 7", "5 7"), ("{a}{b}", "{a}{b}"), ("<b>5</b>", "<b>5</b>")):
        parts, strings = carry(text)
        assert carrier.text(carrier.ids[: len(strings)], parts, strings) == written
    two = tokenizer.encode("2").ids.tolist()
    assert carrier.text([*two, carrier.ids[0], *two], (0,), ["5"]) == "2 5 2"


def test_a_tokenizer_without_stand_ins_is_refused_by_name_and_gets_them_when_a_run_begins():
    tokenizer = train_tokenizer(LINES * 9, kind="byte_bpe", vocab_size=400, num_sentinels=0)
    model = Transformer.from_preset("vaswani", size="tiny", vocab_size=tokenizer.vocab_size)
    wanted = Translation(verbatim=True)
    with pytest.raises(ConfigError, match="task.verbatim"):
        wanted.build(tokenizer, model.config)
    settled, larger, added = wanted.settle(tokenizer, model)
    assert added == list(STAND_INS) and larger.config.vocab_size == model.config.vocab_size + COUNT
    assert settled.build(tokenizer, larger.config).carrier is not None
    assert Translation(verbatim=False).settle(tokenizer, model) == (Translation(verbatim=False), model, [])


def test_random_weights_have_stand_ins_others_only_what_their_run_says(tmp_path):
    assert Translation().started_from(None).verbatim is True
    assert Translation(verbatim=False).started_from(None).verbatim is False
    for said, found in (('{"kind": "translation", "verbatim": true}', True), ('{"kind": "translation"}', False)):
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "task.json").write_text(f'{{"task": {said}}}')
        assert Translation().started_from(str(tmp_path)).verbatim is found
    assert Translation.as_meant({"beams": 4}) == {"beams": 4, "verbatim": False}


def test_examples_have_stand_ins_on_both_sides(tokenizer):
    model = Transformer.from_preset("vaswani", size="tiny", vocab_size=tokenizer.vocab_size)
    task = Translation(verbatim=True).build(tokenizer, model.config)
    ((example,),) = task.examples([Record((LINES[0],), LINES[1])])
    assert example.source is not None
    here = [token for token in example.source.tolist() if token in task.carrier.ids]
    there = [token for token in example.labels.tolist() if token in task.carrier.ids and token != IGNORED]
    assert here == task.carrier.ids[:2] and there == here[::-1]


@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("family", ["vaswani", "gpt2"])
def test_every_string_survives_even_a_model_that_knows_nothing(family, beams, tokenizer):
    torch.manual_seed(3)
    model = Transformer.from_preset(family, size="tiny", vocab_size=tokenizer.vocab_size).eval()
    task = Translation(verbatim=True, beams=beams, max_tokens=24).build(tokenizer, model.config)
    rows = sentences()[:60]
    said = task.predict(model, [Record((text,), "") for text, _ in rows])
    for (_, strings), one in zip(rows, said, strict=True):
        assert all(one.answer.count(string) >= count for string, count in Counter(strings).items())
        assert not any(token in one.answer for token in STAND_INS)
    (plain,) = task.predict(model, [Record(("Anna sees dogs",), "")])
    assert not any(token in plain.answer for token in STAND_INS)
    raw = task.writer(model).generate(["Anna sees dogs"], None)
    assert not set(raw[0].ids) & set(task.carrier.ids)


def test_a_long_text_is_cut_beside_its_strings_and_keeps_them_all(tokenizer):
    torch.manual_seed(3)
    model = Transformer.from_preset("vaswani", size="tiny", vocab_size=tokenizer.vocab_size).eval()
    task = Translation(verbatim=True, beams=1, max_tokens=24, usual_length=30).build(tokenizer, model.config)
    text = "See https://a.org/?b=1. Use `a. b! c` there.\nIt is 3.5. " + " ".join(f"At {n}." for n in range(100, 140))
    (said,) = task.predict(model, [Record((text,), "")])
    for string in ["https://a.org/?b=1", "`a. b! c`", "3.5", *map(str, range(100, 140))]:
        assert string in said.answer


def test_the_usual_length_counts_a_string_as_one_character():
    rows = [(Row({"source": "See https://example.org/a/b/c/d/e/f.", "target": "x"}, ""), {"source": "source"})]
    assert Translation(verbatim=True).complete(rows)[0].usual_length == len("See x.")
    assert Translation(verbatim=False).complete(rows)[0].usual_length == len(rows[0][0].values["source"])


PAIRS = [(f"the {noun} sees {name}", f"{name} wird von {other} gesehen") for name in ("Anna", "Otto", "Mia", "Uwe", "Ida")
         for noun, other in (("dog", "Hund"), ("cat", "Katze"), ("cow", "Kuh"), ("hen", "Huhn"))] * 50  # fmt: skip


def test_words_are_paired_with_their_translations():
    partners = Placer(PAIRS).partners
    assert {word: partners[word] for word in ("dog", "cat", "cow", "hen")} == {
        "dog": "Hund", "cat": "Katze", "cow": "Kuh", "hen": "Huhn",
    }  # fmt: skip


def test_copies_have_stand_ins_that_match_are_all_used_and_the_same_every_time():
    laid = Placer(PAIRS).place()
    copies = laid[len(PAIRS) :]
    assert laid == Placer(PAIRS).place() and 0.5 < len(copies) / (SHARE * len(PAIRS)) < 1.5
    assert laid[: len(PAIRS)] == [((source,), (target,)) for source, target in PAIRS]
    for one, other in copies:
        assert numbers_in(one) and sorted(numbers_in(one)) == numbers_in(one) == sorted(numbers_in(other))
    assert {number for one, _ in copies for number in numbers_in(one)} == set(range(COUNT))
    inside = [one for one, _ in copies if isinstance(one[0], str) and isinstance(one[-1], str)]
    assert inside, "no word was replaced"


def test_what_a_pair_carries_itself_is_enough_and_its_numbers_are_drawn():
    laid = Placer([("at 17:45", "um 17:45")] * 100).place()
    assert len(laid) == 100 and len({one[1] for one, _ in laid}) == COUNT
    assert all(one[1] == other[1] for one, other in laid)


def test_pairs_of_nothing_and_one_pair_are_left_alone():
    assert Placer([]).place() == []
    assert Placer([("", ""), ("a", "")] * 50).place() == [((), ()), (("a",), ())] * 50
