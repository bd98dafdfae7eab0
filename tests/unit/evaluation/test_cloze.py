"""Hidden tokens by counting: every word has a chance, and what stands beside it decides."""

from collections import Counter

import numpy as np
import pytest
import torch

from trifold.batch import IGNORED, Batch, Layout
from trifold.evaluation.cloze import Cloze, hidden_bits, span_bits, span_lengths
from trifold.evaluation.ngram import NGram

VOCABULARY = 14
MASK, END = 12, 13


def documents(seed: int = 0, count: int = 30) -> list[np.ndarray]:
    dice = np.random.default_rng(seed)
    chain = np.random.default_rng(99).dirichlet(np.full(12, 0.15), size=12)
    made = []
    for _ in range(count):
        words = [int(dice.integers(12))]
        while len(words) < 40:
            words.append(int(dice.choice(12, p=chain[words[-1]])))
        made.append(np.array(words))
    return made


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_distributions_are_those_that_texts_are_scored_by(order):
    model, text = NGram(documents(), vocab_size=VOCABULARY, order=order), documents(1, 1)[0]
    places = range(order - 1, len(text))
    contexts = np.array([text[place - order + 1 : place] for place in places]).reshape(len(places), order - 1)
    chances = model.distributions(contexts)
    assert np.allclose(chances.sum(axis=1), 1.0)
    assert np.allclose(
        np.log(chances[np.arange(len(places)), text[order - 1 :]]), model.log_probabilities(text)[order - 1 :]
    )


def test_a_word_that_is_not_known_cuts_off_all_before_it():
    model = NGram(documents(), vocab_size=VOCABULARY, order=3)
    near = NGram(documents(), vocab_size=VOCABULARY, order=3).distributions(np.array([[-1, 4]]))
    assert np.array_equal(model.distributions(np.array([[-1, 4]])), near)
    assert not np.array_equal(near, model.distributions(np.array([[4, 4]])))
    assert np.allclose(model.distributions(np.array([[7, -1]])), model.distributions(np.array([[-1, -1]])))


def test_both_sides_together_are_better_than_either():
    model, held = Cloze(documents(), vocab_size=VOCABULARY, order=2), documents(1, 20)
    left = [text[place - 1 : place] for text in held for place in range(1, 39)]
    right = [text[place + 1 : place + 2] for text in held for place in range(1, 39)]
    words = np.array([text[place] for text in held for place in range(1, 39)])
    both = model.probabilities(left, right)
    assert np.allclose(both.sum(axis=1), 1.0)

    def bits(chances: np.ndarray) -> float:
        return float(-np.log2(chances[np.arange(len(words)), words]).mean())

    nothing = [np.zeros(0, np.int64)] * len(words)
    sides = [bits(model.probabilities(left, nothing)), bits(model.probabilities(nothing, right))]
    assert bits(both) < min(sides) - 0.3 < bits(model.probabilities(nothing, nothing)) - 0.5


def test_hidden_tokens_of_a_batch_see_no_further_than_the_next_special_token():
    model = Cloze(documents(), vocab_size=VOCABULARY, order=3)
    source = torch.tensor([[END, 3, 4, MASK, 5, 6, END, 7, MASK, END]])
    labels = torch.full_like(source, IGNORED)
    labels[0, 3], labels[0, 8] = 9, 2
    batch = Batch(source=source, source_layout=Layout.whole(1, 10), labels=labels)
    left, right = [np.array([3, 4]), np.array([7])], [np.array([6, 5]), np.zeros(0, np.int64)]
    chances = model.probabilities(left, right)
    wanted = -np.log2(chances[0, 9]) - np.log2(chances[1, 2])
    assert hidden_bits(model, [batch], [MASK, END]) == pytest.approx(wanted)


def test_spans_are_written_after_what_stands_before_them_and_end_by_their_lengths():
    model = Cloze(documents(), vocab_size=VOCABULARY, order=3)
    first, second, end = 11, 12, 13
    source = torch.tensor([[3, 4, first, 5, 6, end]])
    labels = torch.tensor([[first, 7, 8, second, end]])
    target = torch.tensor([[0, first, 7, 8, second]])
    batch = Batch(source, target, Layout.whole(1, 6), Layout.whole(1, 5), labels)
    special = [first, second, end]
    assert span_lengths([batch], special) == Counter({2: 1})
    lengths = Counter({1: 1, 2: 2, 3: 1})
    chances = model.after([np.array([3, 4]), np.array([3, 4, 7])])
    ends = [1.5 / 5, 2.5 / 4]
    wanted = -np.log2(chances[0, 7] * chances[1, 8]) - np.log2(1 - ends[0]) - np.log2(ends[1])
    assert span_bits(model, [batch], lengths, special) == pytest.approx(wanted)
