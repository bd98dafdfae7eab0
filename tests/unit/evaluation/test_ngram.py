"""The Kneser-Ney baseline against a slow and obvious writing of the same formula."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trifold.errors import ConfigError
from trifold.evaluation.ngram import NGram

START = "<s>"


class Plain:
    """Interpolated modified Kneser-Ney, word for word from the definition, with dictionaries."""

    def __init__(self, documents, vocab_size, order):
        self.vocab_size, self.order = vocab_size, order
        raw = [Counter() for _ in range(order + 1)]
        for document in documents:
            row = [START, *map(int, document)]
            for length in range(1, order + 1):
                for place in range(length - 1, len(row)):
                    raw[length][tuple(row[place - length + 1 : place + 1])] += 1
        self.counts = [{} for _ in range(order + 1)]
        for length in range(1, order + 1):
            left = Counter(gram[1:] for gram in raw[length + 1]) if length < order else None
            for gram, count in raw[length].items():
                keep = left is None or gram[0] == START
                self.counts[length][gram] = count if keep else left[gram]
            self.counts[length] = {g: c for g, c in self.counts[length].items() if g[-1] != START}
        self.discounts = [None, *(self.estimate(self.counts[length].values()) for length in range(1, order + 1))]
        self.followers = [defaultdict(list) for _ in range(order + 1)]
        for length in range(1, order + 1):
            for gram, count in self.counts[length].items():
                self.followers[length][gram[:-1]].append(count)

    @staticmethod
    def estimate(counts):
        n = Counter(min(count, 5) for count in counts)
        if not n[1] or not n[2]:
            return [0.0, 0.5, 0.75, 0.9]
        y = n[1] / (n[1] + 2 * n[2])
        found = [k - (k + 1) * y * n[k + 1] / n[k] if n[k] else 0.9 for k in (1, 2, 3)]
        return [0.0, *(min(max(d, 0.05), high) for d, high in zip(found, (0.95, 1.9, 2.8), strict=True))]

    def probability(self, history, word, length):
        if length == 0:
            return 1.0 / self.vocab_size
        history = history[len(history) - length + 1 :]
        lower = self.probability(history[1:], word, length - 1)
        counts = self.followers[length].get(history)
        if not counts:
            return lower
        total, discount = sum(counts), self.discounts[length]
        count = self.counts[length].get((*history, word), 0)
        lost = sum(discount[min(c, 3)] for c in counts)
        return (count - discount[min(count, 3)]) / total + lost / total * lower

    def log_probabilities(self, document):
        row = (START, *map(int, document))
        return [
            math.log(self.probability(row[:place], row[place], min(self.order, place + 1)))
            for place in range(1, len(row))
        ]


documents_of_letters = st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    documents=documents_of_letters,
    held_out=st.lists(st.integers(0, 4), min_size=1, max_size=10),
    order=st.integers(1, 5),
)
def test_equals_definition(documents, held_out, order):
    if not any(documents):
        return
    arrays = [np.array(document, np.int32) for document in documents]
    fast = NGram(arrays, vocab_size=5, order=order)
    slow = Plain(documents, 5, order)
    np.testing.assert_allclose(
        fast.log_probabilities(np.array(held_out)), slow.log_probabilities(held_out), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("order", [1, 2, 5])
def test_probabilities_sum_to_one(order):
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 6, size=int(size)) for size in rng.integers(1, 30, size=20)]
    model = NGram(documents, vocab_size=8, order=order)
    for history in ([], [1], [1, 2], [7, 7, 7], documents[0][:4].tolist(), documents[1][:9].tolist()):
        last = [model.log_probabilities(np.array([*history, word]))[-1] for word in range(8)]
        assert math.isclose(sum(map(math.exp, last)), 1.0, abs_tol=1e-12)


def test_never_counts_across_documents():
    apart = NGram([np.array([0, 1]), np.array([2, 3])] * 20, vocab_size=4, order=2)
    assert apart.log_probabilities(np.array([0, 1, 2]))[2] < math.log(0.5)
    together = NGram([np.array([0, 1, 2, 3])] * 20, vocab_size=4, order=2)
    assert together.log_probabilities(np.array([0, 1, 2]))[2] > math.log(0.5)


def test_bits_are_those_of_the_documents_one_by_one():
    rng = np.random.default_rng(1)
    documents = [rng.integers(0, 9, size=50) for _ in range(10)]
    model = NGram(documents, vocab_size=9)
    one_by_one = -sum(model.log_probabilities(document).sum() for document in documents) / math.log(2)
    assert math.isclose(model.bits(documents), one_by_one, rel_tol=1e-12)


def test_refuses_foreign_ids_and_no_text():
    with pytest.raises(ConfigError, match="vocabulary"):
        NGram([np.array([7])], vocab_size=4)
    with pytest.raises(ConfigError, match="no tokens"):
        NGram([np.array([], np.int32)], vocab_size=4)
    with pytest.raises(ConfigError, match="order"):
        NGram([np.array([1])], vocab_size=4, order=0)
