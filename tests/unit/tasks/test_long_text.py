"""Long texts are cut at sentences, and nothing of them is lost or moved when they are put together again."""

import random

import pytest

from trifold.data.rows import Row
from trifold.generation import Generation
from trifold.presets.pretrained import Transformer
from trifold.tasks import Translation, translation
from trifold.tasks.long_text import Piece, cut_at_sentences, put_together
from trifold.tasks.record import Record
from trifold.text import train_tokenizer

TEXT = "A dog runs. Dr. No watches 3.5 cats!\nIs it late?  Yes.\n\n狗在跑。猫在看。"


def shorter_than(size: int):
    return lambda text: len(text) < size


def test_a_text_that_fits_stays_whole():
    assert cut_at_sentences(TEXT, shorter_than(1000)) == [Piece(TEXT)]


def test_sentences_go_together_as_far_as_they_fit_and_lines_stay_apart():
    pieces = cut_at_sentences(TEXT, shorter_than(30))
    assert [piece.text for piece in pieces] == [
        "A dog runs.", "Dr. No watches 3.5 cats!", "Is it late?  Yes.", "狗在跑。猫在看。",
    ]  # fmt: skip
    assert [piece.gap for piece in pieces] == ["", "\n", "\n\n", ""]


def test_a_sentence_that_never_fits_is_a_part_and_a_blank_text_is_one():
    assert [piece.text for piece in cut_at_sentences("One two. Three four.", shorter_than(2))] == [
        "One two.",
        "Three four.",
    ]
    assert cut_at_sentences(" \n ", shorter_than(0)) == [Piece("")]


@pytest.mark.parametrize("seed", range(20))
def test_parts_hold_all_letters_in_order_and_come_together_with_their_lines(seed):
    dice = random.Random(seed)
    text = "".join(dice.choices(["A dog.", " ", "Why?", "\n", "狗。", "3.5", "e", ", "], k=40)).strip()
    pieces = cut_at_sentences(text, shorter_than(dice.randrange(1, 40)))
    whole = put_together([piece.text for piece in pieces], pieces)
    assert "".join(whole.split()) == "".join(text.split())
    assert [line.split() != [] for line in whole.split("\n")] == [line.split() != [] for line in text.split("\n")]


def test_no_space_beside_chinese():
    pieces = [Piece("a."), Piece("b.", "\n"), Piece("c.")]
    assert put_together(["一。", "二。", "三。"], pieces) == "一。二。\n三。"
    assert put_together(["one.", " two.", ""], pieces) == "one. two."


def test_a_translator_is_given_sentences_of_what_is_longer_than_its_training(monkeypatch):
    tokenizer = train_tokenizer([TEXT] * 9, kind="byte_bpe", vocab_size=300)
    model = Transformer.from_preset("vaswani", size="tiny", vocab_size=tokenizer.vocab_size)
    rows: list[str] = []

    def copied(_model, _tokenizer, _frame, prompts, _sampling, *, carried):
        assert carried == ()
        rows.extend(tokenizer.decode(prompt).strip() for prompt in prompts)
        return [Generation(text.upper(), (), (), "length" if "cat" in text else "end") for text in rows]

    monkeypatch.setattr(translation, "write_answers", copied)
    long = "A dog runs. A cat sleeps.\nIs it late? Yes."
    for usual, parts in ((26, ["A dog runs. A cat sleeps.", "Is it late? Yes."]), (100, [long])):
        rows.clear()
        task = Translation(usual_length=usual).build(tokenizer, model.config)
        (said,) = task.predict(model, [Record(long)])
        assert [" ".join(row.split()) for row in rows] == [" ".join(part.split()) for part in parts]
        assert said.answer == long.upper() and said.details["finish_reason"] == "length"
    rows.clear()
    Translation(max_length=12).build(tokenizer, model.config).predict(model, [Record(long)])  # no room for all of it
    assert len(rows) > 1


def test_the_usual_length_is_that_of_all_sources_but_the_longest():
    texts = ["x" * size for size in [*[20] * 198, 900]]
    rows = [(Row({"en": text, "de": "y"}, ""), {"source": "en", "target": "de"}) for text in texts]
    filled, _ = Translation().complete(rows)
    assert filled.usual_length == 20 and Translation().complete([])[0].usual_length == 0
