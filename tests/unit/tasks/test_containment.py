"""Which texts stand whole inside others, and that they are held out together."""

import json
import random

import pytest

from trifold.tasks.containment import containers
from trifold.tasks.examples import read_examples
from trifold.tasks.experiment import FineTuning, LabelledData
from trifold.training import ModelChoice

PHRASES = ["it is a charming and often moving film", "a charming and often moving film", "often moving film", "moving film",
           "IT IS A CHARMING, and often moving film!"]  # fmt: skip


def test_a_phrase_belongs_to_the_longest_text_that_has_it():
    texts = ["so it is a charming and often moving film", *PHRASES, "a film", "often charming film"]
    assert containers(texts) == [0, 0, 0, 0, 4, 0, 6, 7]
    assert containers([]) == [] and containers(["", "?"]) == [0, 1]


def test_chinese_is_read_by_characters():
    assert containers(["房间很大，服务好", "这个酒店房间很大服务好不错", "很大"]) == [1, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_comparing_every_two_texts_comes_to_in_any_order(seed):
    dice = random.Random(seed)
    texts = [" ".join(dice.choices("abc", k=dice.randrange(9))) for _ in range(120)]
    found = containers(texts)
    for number, holder in enumerate(found):
        words, holding = texts[number].split(), texts[holder].split()
        longer = [other for other in texts if len(words) >= 3 and f" {texts[number]} " in f" {other} "]
        assert len(holding) == max(len(other.split()) for other in longer) if longer else holder == number
        assert found[holder] == holder
    shuffled = dice.sample(range(len(texts)), len(texts))
    again = containers([texts[number] for number in shuffled])
    assert [texts[found[number]] for number in shuffled] == [texts[shuffled[number]] for number in again]


def test_phrases_of_a_sentence_are_not_both_trained_on_and_judged_on(tmp_path):
    rows = [{"text": " ".join(f"w{number}x{place}" for place in range(words)), "label": "yn"[number % 2]}
            for number in range(200) for words in (3, 4, 6)]  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in random.Random(0).sample(rows, len(rows))))
    examples = read_examples(FineTuning(model=ModelChoice(preset="bert"), data=LabelledData(train=str(path))))
    sides = {side: {row.values["text"].split("x")[0] for row, _ in placed} for side, placed in examples.rows.items()}
    assert len(sides["dev"]) > 5 and not sides["dev"] & sides["train"]
