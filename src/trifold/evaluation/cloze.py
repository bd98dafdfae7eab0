"""Baselines of what encoders and span-corrupting models are trained for, by counting; judged on the same hidden tokens.

A hidden token has text on both sides. With forward and backward n-gram models of the training text,

    p(w | left, right)  ~  p(w | left) p(w | right) / p(w),

which is exact where left and right are independent given the word. What stands in a span is written from left to right:
each token by the forward model, after the text before the span; and the end of the span by how long spans are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from trifold.batch import IGNORED, Batch
from trifold.evaluation.ngram import NGram

__all__ = ["Cloze", "hidden_bits", "span_bits", "span_lengths"]

AT_ONCE = 512
"""Places that are computed at once: bounds the memory."""
Context = Int[np.ndarray, " _"]


class Cloze:
    """A model of tokens between others.

    Args:
        documents: token ids of each training document.
        vocab_size: ids are below it.
        order: of the n-grams: one less is the number of words that are seen on each side.

    Example:
        >>> model = Cloze([np.array([0, 1, 2, 0, 3, 2] * 9)], vocab_size=4, order=2)
        >>> chances = model.probabilities([np.array([2])], [np.array([1])])
        >>> int(chances[0].argmax())
        0
    """

    def __init__(self, documents: Iterable[Int[np.ndarray, " _"]], *, vocab_size: int, order: int = 3) -> None:
        documents = list(documents)
        self.order = order
        self.forward = NGram(documents, vocab_size=vocab_size, order=order)
        self.backward = NGram((document[::-1] for document in documents), vocab_size=vocab_size, order=order)
        self.alone = NGram(documents, vocab_size=vocab_size, order=1).distributions(np.zeros((1, 0), np.int64))

    def after(self, left: list[Context]) -> Float[np.ndarray, "places vocab"]:
        """The probability of every word after the words of a context, the nearest last."""
        return self.forward.distributions(self._matrix(left))

    def probabilities(self, left: list[Context], right: list[Context]) -> Float[np.ndarray, "places vocab"]:
        """The probability of every word between two contexts, the nearest word of each last."""
        both = self.after(left) * self.backward.distributions(self._matrix(right)) / self.alone
        return both / both.sum(axis=1, keepdims=True)

    def _matrix(self, contexts: list[Context]) -> Int[np.ndarray, "places words"]:
        matrix = np.full((len(contexts), self.order - 1), -1, np.int64)
        for row, context in zip(matrix, contexts, strict=True):
            near = context[max(len(context) - len(row), 0) :]
            row[len(row) - len(near) :] = near
        return matrix


def hidden_bits(model: Cloze, batches: Iterable[Batch], special: Iterable[int]) -> float:
    """Bits of the hidden tokens of a masked encoder's batches; what is special ends a context."""
    ends, total = np.array(sorted(special)), 0.0
    left, right, words = list[Context](), list[Context](), list[int]()
    for batch in batches:
        assert batch.source is not None
        assert batch.labels is not None
        for row, labels in zip(batch.source.numpy(), batch.labels.numpy(), strict=True):
            for place in np.flatnonzero(labels != IGNORED):
                left.append(_until(row[:place][::-1], ends, model.order)[::-1])
                right.append(_until(row[place + 1 :], ends, model.order)[::-1])
                words.append(int(labels[place]))
    for start in range(0, len(words), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        chances = model.probabilities(left[part], right[part])
        total -= float(np.log2(chances[np.arange(len(chances)), words[part]]).sum())
    return total


def _until(row: Context, ends: Context, order: int) -> Context:
    """The first words of a row before one of the ends, as many as an n-gram can use."""
    near = row[: order - 1]
    stop = np.flatnonzero(np.isin(near, ends))
    return near[: stop[0]] if len(stop) else near


def span_bits(model: Cloze, batches: Iterable[Batch], lengths: Counter[int], special: Iterable[int]) -> float:
    """Bits of what a span-corrupting model writes: the tokens of spans, and where each ends.

    Args:
        model: of the training text.
        batches: the held-out text, corrupted.
        lengths: how often spans of the training text have each length.
        special: ids that are no text: sentinels among them.
    """
    ends, total = np.array(sorted(special)), 0.0
    left, words = list[Context](), list[int]()
    for before, span in _spans(batches, ends):
        for number, word in enumerate(span):
            left.append(np.concatenate([before, span[:number]]))
            words.append(int(word))
            total -= np.log2(1.0 - _ends(lengths, number))
        total -= np.log2(_ends(lengths, len(span)))
    for start in range(0, len(words), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        chances = model.after(left[part])
        total -= float(np.log2(chances[np.arange(len(chances)), words[part]]).sum())
    return float(total)


def span_lengths(batches: Iterable[Batch], special: Iterable[int]) -> Counter[int]:
    """How often spans have each length."""
    return Counter(len(span) for _, span in _spans(batches, np.array(sorted(special))))


def _ends(lengths: Counter[int], length: int) -> float:
    """The chance that a span ends after so many tokens, where it has not ended before; a span has one at least."""
    longer = sum(count for size, count in lengths.items() if size >= length)
    return 0.0 if length == 0 else (lengths[length] + 0.5) / (longer + 1.0)


def _spans(batches: Iterable[Batch], ends: Context) -> Iterator[tuple[Context, Context]]:
    """Each span of corrupted text, after what stands before it in the source."""
    for batch in batches:
        assert batch.source is not None
        assert batch.labels is not None
        assert batch.source_layout is not None
        assert batch.target_layout is not None
        for row in range(len(batch.labels)):
            source, labels = batch.source[row].numpy(), batch.labels[row].numpy()
            sides = [(batch.source_layout.documents, source), (batch.target_layout.documents, labels)]
            read, written = (np.ones(len(side)) if known is None else known[row].numpy() for known, side in sides)
            for document in np.unique(written[written > 0]):
                yield from _of_document(source[read == document], labels[written == document], ends)


def _of_document(source: Context, labels: Context, ends: Context) -> Iterator[tuple[Context, Context]]:
    marks = np.flatnonzero(np.isin(labels, ends))
    for mark, after in pairwise(marks):
        place = np.flatnonzero(source == labels[mark])
        if len(place) and after > mark + 1:
            begun = source[: place[0]]
            stops = np.flatnonzero(np.isin(begun, ends))
            yield begun[stops[-1] + 1 if len(stops) else 0 :], labels[mark + 1 : after]
