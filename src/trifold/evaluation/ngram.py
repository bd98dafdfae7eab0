"""Baselines that need no training: interpolated modified Kneser-Ney n-gram models over the model's own tokens.

    p_k(w | h) = max(a(h w) - D(a(h w)), 0) / A(h) + gamma(h) p_{k-1}(w | h'),    p_0(w) = 1 / vocab_size

`a` are counts at the highest order and numbers of different words to the left below it (Chen and Goodman 1999); `h'` is
`h` without its first word, `A(h)` sums `a` over what follows `h`, and `gamma(h)` gives back what the discounts `D` took.
An n-gram that begins with the start of its document has nothing to its left and keeps its count. Nothing crosses the
border of a document, and every id of the vocabulary has a probability, so there is no unknown word.

An n-gram is the pair (number of its first n-1 words among all such, last word) packed in one int64; tables are sorted
arrays of these, so that counting is a sort and looking up a binary search.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from trifold.errors import ConfigError

__all__ = ["NGram"]

GROUP = 1_000_000
"""Tokens that are scored at once: bounds the memory that held-out text needs."""


@dataclass(frozen=True, slots=True)
class _Order:
    """The table of one order: sorted keys, the discounted part of the probability, and the weight of the order below.

    `back_off` belongs to contexts: it is indexed by the number of a (k-1)-gram.
    """

    keys: Int[np.ndarray, " grams"]
    part: Float[np.ndarray, " grams"]
    back_off: Float[np.ndarray, " contexts"]


class NGram:
    """An n-gram model of token ids.

    Args:
        documents: token ids of each training document, as the model is asked to predict them.
        vocab_size: ids are below it.
        order: the longest n-gram, 1 for the unigram model.

    Raises:
        ConfigError: no tokens, an id outside the vocabulary, or an order outside 1 to 8.

    Example:
        >>> model = NGram([np.array([0, 1, 0, 1, 0, 1])], vocab_size=3, order=2)
        >>> bool(model.log_probabilities(np.array([0, 1]))[1] > np.log(0.5))
        True
    """

    def __init__(self, documents: Iterable[Int[np.ndarray, " _"]], *, vocab_size: int, order: int = 5) -> None:
        if not 1 <= order <= 8:
            raise ConfigError("config.out_of_range", where="order", given=order, allowed="1 to 8")
        self.vocab_size, self.order = vocab_size, order
        self.base = vocab_size + 1  # one more word: the start of a document, only ever seen as context
        words, starts = self._stream(documents)
        self.num_tokens = len(words) - int(starts.sum())
        if not self.num_tokens:
            raise ConfigError("evaluation.no_tokens")
        self.orders = self._count(words, starts)

    def log_probabilities(self, document: Int[np.ndarray, " tokens"]) -> Float[np.ndarray, " tokens"]:
        """Natural log-probability of each token of one document, given those before it.

        Raises:
            ConfigError: an id outside the vocabulary.
        """
        return self._score([document])

    def each_document(self, documents: Sequence[Int[np.ndarray, " _"]]) -> Iterator[Float[np.ndarray, " _"]]:
        """Natural log-probabilities of the tokens of each document; many short ones are scored together.

        Raises:
            ConfigError: an id outside the vocabulary.
        """
        first = 0
        while first < len(documents):
            sizes = np.cumsum([len(document) for document in documents[first : first + GROUP]])
            count = max(int(np.searchsorted(sizes, GROUP)), 1)
            yield from np.split(self._score(list(documents[first : first + count])), sizes[: count - 1])
            first += count

    def distributions(self, contexts: Int[np.ndarray, "places words"]) -> Float[np.ndarray, "places vocab"]:
        """The probability of every word after each context.

        Args:
            contexts: the words before, the nearest last; -1 for those that are not known, which cut off all before them.

        Example:
            >>> model = NGram([np.array([0, 1, 0, 1, 0, 1])], vocab_size=2, order=2)
            >>> model.distributions(np.array([[0], [1]])).argmax(axis=1).tolist()
            [1, 0]
        """
        chances = np.full((len(contexts), self.vocab_size), 1.0 / self.vocab_size)
        for length, table in enumerate(self.orders[: contexts.shape[1] + 1]):
            number = self._numbers(contexts[:, contexts.shape[1] - length :])
            known = np.flatnonzero(number >= 0)
            chances[known] *= table.back_off[number[known], None]
            first = np.searchsorted(table.keys, number[known] * self.base)
            last = np.searchsorted(table.keys, number[known] * self.base + self.vocab_size)
            for place, start, end in zip(known, first, last, strict=True):
                words = table.keys[start:end] - number[place] * self.base
                chances[place, words] += table.part[start:end]
        return chances

    def _numbers(self, contexts: np.ndarray) -> np.ndarray:
        """The number of each context among those of its length, -1 for one that was never seen."""
        number = np.zeros(len(contexts), np.int64)
        for column, table in zip(contexts.T, self.orders, strict=False):
            seen = (number >= 0) & (column >= 0)
            number = _find(table.keys, np.where(seen, number * self.base + column, -1))
        return number

    def bits(self, documents: Iterable[Int[np.ndarray, " _"]]) -> float:
        """Bits needed to write the documents down with this model.

        Raises:
            ConfigError: an id outside the vocabulary.
        """
        total, group, size = 0.0, [], 0
        for document in documents:
            group.append(document)
            size += len(document)
            if size > GROUP:
                total, group, size = total - float(self._score(group).sum()), [], 0
        total -= float(self._score(group).sum())
        return total / np.log(2.0)

    def _score(self, documents: list[np.ndarray]) -> np.ndarray:
        words, starts = self._stream(documents)
        probability = np.full(len(words), 1.0 / self.vocab_size)
        context = np.zeros(len(words), np.int64)  # number of the (k-1)-gram that ends before each place, -1 if unseen
        for table in self.orders:
            known = context >= 0
            probability[known] *= table.back_off[context[known]]
            index = _find(table.keys, np.where(known, context * self.base + words, -1))
            found = index >= 0
            probability[found] += table.part[index[found]]
            context = _after(index, starts)
        return np.log(probability[~starts])

    def _stream(self, documents: Iterable[Int[np.ndarray, " _"]]) -> tuple[np.ndarray, np.ndarray]:
        """All documents in one row, each after the start word; and where the start words are."""
        pieces: list[np.ndarray] = []
        start = np.array([self.vocab_size], np.int32)
        for document in documents:
            if len(document) and not (int(document.min()) >= 0 and int(document.max()) < self.vocab_size):
                raise ConfigError("evaluation.token_range", given=int(document.max()), allowed=self.vocab_size)
            pieces += [start, np.asarray(document, np.int32)]
        words = np.concatenate(pieces).astype(np.int64) if pieces else np.zeros(0, np.int64)
        return words, words == self.vocab_size

    def _count(self, words: np.ndarray, starts: np.ndarray) -> list[_Order]:
        """The tables of all orders, lowest first.

        A table needs the table above it (what stands to the left of each of its n-grams), so each is finished when
        the next has been counted.
        """
        context = np.zeros(len(words), np.int64)
        tables: list[_Order] = []
        num_contexts = 1
        keys, first, index, counts = self._next(context, words)
        for length in range(1, self.order):
            context = _after(index, starts)
            longer, longer_first, longer_index, longer_counts = self._next(context, words)
            left = np.bincount(index[longer_first], minlength=len(keys))  # how many longer ones end in each
            begins = starts[np.maximum(first - (length - 1), 0)]
            tables.append(self._finish(keys, np.where(begins, counts, left), num_contexts))
            num_contexts = len(keys)
            keys, first, index, counts = longer, longer_first, longer_index, longer_counts
        tables.append(self._finish(keys, counts, num_contexts))
        return tables

    def _next(self, context: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return _unique(np.where(context >= 0, context * self.base + words, -1))

    def _finish(self, keys: np.ndarray, counts: np.ndarray, num_contexts: int) -> _Order:
        """Discount the counts of one order."""
        contexts, last = np.divmod(keys, self.base)
        counts = np.where(last == self.vocab_size, 0, counts)  # the start of a document is never predicted
        discounts = _discounts(counts)
        taken = discounts[np.minimum(counts, 3)]
        total = np.bincount(contexts, counts, minlength=num_contexts)
        lost = np.bincount(contexts, taken, minlength=num_contexts)
        back_off = np.where(total > 0, lost / np.maximum(total, 1), 1.0)
        part = (counts - taken) / np.maximum(total, 1)[contexts]
        return _Order(keys, part, back_off)


def _unique(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sorted different keys (-1 left out), a place of each, the number of the key at each place (-1), counts."""
    order = np.argsort(keys)
    ranked = keys[order]
    new = np.ones(len(ranked), bool)
    new[1:] = ranked[1:] != ranked[:-1]
    new &= ranked >= 0
    index = np.empty(len(keys), np.int64)
    index[order] = np.cumsum(new) - 1
    bounds = np.flatnonzero(new)
    return ranked[bounds], order[bounds], index, np.diff(np.append(bounds, len(keys)))


def _after(index: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The n-gram that ends just before each place; none (-1) before a start of a document."""
    before = np.empty_like(index)
    before[:1] = -1
    before[1:] = index[:-1]
    before[starts] = -1
    return before


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted key stands among the sorted keys, -1 where it does not."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What to take from counts of 0, 1, 2 and 3 or more (Chen and Goodman 1999, equation 26)."""
    seen = np.bincount(np.minimum(counts, 5), minlength=5).astype(np.float64)
    once, twice = seen[1], seen[2]
    if not once or not twice:  # too little text to estimate them
        return np.array([0.0, 0.5, 0.75, 0.9])
    ratio = once / (once + 2 * twice)
    wanted = [k - (k + 1) * ratio * seen[k + 1] / seen[k] if seen[k] else 0.9 for k in (1, 2, 3)]
    return np.array([0.0, *np.clip(wanted, [0.05, 0.05, 0.05], [0.95, 1.9, 2.8])])
