"""The verdict on a pre-trained model beside counting, with an interval: on the same stretches of held-out text."""

from dataclasses import replace

import numpy as np
import pytest

from trifold import pretrain
from trifold.evaluation.baselines import count_beside
from trifold.evaluation.ngram import NGram
from trifold.evaluation.report import counted_line
from trifold.evaluation.stretches import compare_bits, sums_of_stretches
from trifold.objective import config as objectives
from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training

WORDS = "the cat sat on a mat and the dog ran to it".split()
CAUSAL = Experiment(
    model=ModelChoice(preset="gpt2", overrides={"num_layers": 1, "d_model": 16, "num_heads": 2, "max_length": 32}),
    tokenizer=TokenizerChoice(vocab_size=300),
    data=DataChoice(valid_fraction=0.2),
    training=Training(steps=10, length=32, batch_size=8, dtype="float32"),
)


def texts(count: int, words: int) -> list[str]:
    dice = np.random.default_rng(0)
    return [" ".join(dice.choice(WORDS, words)) for _ in range(count)]


@pytest.mark.parametrize(
    ("experiment", "count", "words"),
    [
        (CAUSAL, 200, 40),
        (CAUSAL, 3, 900),  # few long documents are drawn by stretches of them
        (replace(CAUSAL, model=ModelChoice(preset="llama", overrides=CAUSAL.model.overrides)), 40, 100),
        (replace(CAUSAL, model=ModelChoice(preset="bert", overrides=CAUSAL.model.overrides),
                 objective=objectives.Masked()), 100, 60),
        (replace(CAUSAL, model=ModelChoice(preset="t5", overrides={"num_layers": 1, "d_model": 16, "num_heads": 2}),
                 objective=objectives.Denoising()), 100, 60),
    ],
    ids=["documents", "stretches", "start token", "masked", "spans"],
)  # fmt: skip
def test_the_difference_is_that_of_the_figures_that_are_told(tmp_path, experiment, count, words):
    result = pretrain(experiment, tmp_path / "run", texts=texts(count, words))
    counted = count_beside(tmp_path / "run")
    verdict = counted.verdict
    assert verdict is not None and verdict["baseline"] == min(counted.bits, key=counted.bits.get)
    difference, bits = verdict["difference"], result.valid.bits_per_byte
    assert difference["value"] == pytest.approx(bits - counted.bits[verdict["baseline"]], abs=1e-4)
    assert difference["low"] < difference["value"] < difference["high"] and difference["n"] > 5
    assert verdict["told"] == "worse"  # ten steps
    line = counted_line(bits, counted.bits, verdict)
    assert "worse than a" in line and f"{difference['n']} stretches" in line and f"[{difference['low']:+.3f}, " in line


def test_a_difference_that_may_be_chance_is_called_so():
    dice = np.random.default_rng(0)
    counted = np.stack([dice.uniform(50, 70, 40), np.full(40, 30.0)], axis=1)
    near = counted + np.stack([dice.normal(0, 5, 40), np.zeros(40)], axis=1)
    assert compare_bits(near, counted, "5-gram")["told"] == "even"
    assert compare_bits(counted - [20, 0], counted, "5-gram")["told"] == "better"
    verdict = compare_bits(near, counted, "5-gram")
    assert "no significant difference from a 5-gram model" in counted_line(2.0, {"5-gram": 2.0}, verdict)


def test_documents_are_scored_together_as_alone():
    documents = [np.array(ids, dtype=np.int64) for ids in ([0, 1, 2], [2], [], [1, 1, 0, 2], [0])]
    model = NGram(documents, vocab_size=3, order=2)
    for together, document in zip(model.each_document(documents), documents, strict=True):
        assert together == pytest.approx(model.log_probabilities(document) if len(document) else np.zeros(0))


def test_stretches_hold_each_token_once():
    documents = [np.array([0, 1, 2, 1, 0])]
    rows = sums_of_stretches([np.array([1.0, 2.0, 3.0, 4.0, 5.0])], documents, 2, np.array([1, 2, 3]))
    assert rows.tolist() == [[3.0, 3.0], [7.0, 5.0], [5.0, 1.0]]
