"""How much vectors count beside words: measured on questions that the base itself is asked, with nobody's labels.

From a passage a sentence is cut out (the inverse cloze task, Lee, Chang and Toutanova 2019), and what remains must be
found by two questions: the sentence that is gone, which shares the subject but few words, and some words in a row of
what remains. The first favours vectors and the second words; the second counts nine times as much, since what people
ask repeats words, and the gain over words alone must be beyond chance.

Axes: Q questions, W weights.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from trifold.retrieval.dense import Embedder
from trifold.retrieval.fusion import Ranking, fuse
from trifold.retrieval.passage import HAN, sentences_of, terms_of
from trifold.retrieval.search import Searcher
from trifold.retrieval.store import Store
from trifold.retrieval.writer import replace_terms, told

__all__ = ["choose_weight", "measure_weight"]

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ASKED, FEWEST, DEPTH = 200, 20, 200
"""Most passages that are asked for, fewest that say anything, and how far down a ranking is looked."""
SHORTEST, STRETCH = 4, 8
"""Terms of a sentence worth asking for; words, or a third of the Han characters, in a question of words in a row."""
MEANING = 0.1
"""Share of people's questions that are taken to repeat few words of the passage; the others repeat some."""
CERTAIN = 3.0
"""How many standard errors the gain over words must be above zero."""
WORD = re.compile(rf"[{HAN}]{{1,3}}|[^\W_{HAN}]+")


@dataclass(frozen=True, slots=True)
class Cut:
    """A passage without one of its sentences, and the two questions that must find it."""

    passage: int
    title: str
    text: str
    rest: str
    questions: tuple[str, str]


def measure_weight(store: Store, searcher: Searcher, embedder: Embedder) -> float:
    """The weight that finds the base's own passages best, 0 where vectors do not clearly help; within a transaction.

    Args:
        store: whose passages have vectors.
        searcher: of the store.
        embedder: the one that gave them.
    """
    cuts = _draw(store)
    if len(cuts) < FEWEST:
        return 0.0
    rests = embedder.embed([told(cut.title, cut.rest) for cut in cuts])
    numbers, gains = [cut.passage for cut in cuts], []
    store.base.execute("SAVEPOINT cut")
    try:
        for cut in cuts:
            replace_terms(store.base, cut.passage, (cut.title, cut.text), (cut.title, cut.rest))
        for kind in (0, 1):
            vectors = embedder.embed([cut.questions[kind] for cut in cuts], query=True)
            ranks = [
                _ranks(searcher, cut, cut.questions[kind], vector, dict(zip(numbers, rests @ vector, strict=True)))
                for cut, vector in zip(cuts, vectors, strict=True)
            ]
            gains.append(1 / np.array(ranks))
    finally:
        store.base.execute("ROLLBACK TO cut")
        store.base.execute("RELEASE cut")
    return choose_weight(gains[0], gains[1])


def choose_weight(meaning: Float[NDArray, "asked weights"], words: Float[NDArray, "asked weights"]) -> float:
    """The weight with the highest mean reciprocal rank, of both kinds by their shares, among those surely above words.

    Args:
        meaning: reciprocal ranks of the passages asked for by a sentence that is gone, for each of `WEIGHTS`.
        words: the same, asked for by words of theirs.

    Returns:
        0 where no weight gains more than `CERTAIN` standard errors.

    Example:
        >>> table = np.tile(np.array([0.5, *[0.4] * 10]), (30, 1))
        >>> choose_weight(table, table)
        0.0
    """
    gain = MEANING * (meaning - meaning[:, :1]) + (1 - MEANING) * (words - words[:, :1])  # Q W
    error = gain.std(0, ddof=1) / np.sqrt(len(gain))
    sure = gain.mean(0) > CERTAIN * error
    return WEIGHTS[int(np.where(sure, gain.mean(0), 0.0).argmax())]


def _draw(store: Store) -> list[Cut]:
    """Passages in an order that chance, always the same, gives them, each without a sentence."""
    chance, cuts = random.Random(0), list[Cut]()
    numbers = [row[0] for row in store.base.execute("SELECT id FROM passages WHERE vector IS NOT NULL ORDER BY id")]
    chance.shuffle(numbers)
    for number in numbers:
        title, text = store.base.execute(
            "SELECT title, text FROM passages JOIN documents ON documents.id = document WHERE passages.id = ?",
            (number,),
        ).fetchone()
        cut = _cut(number, title, text, chance)
        cuts += [] if cut is None else [cut]
        if len(cuts) == ASKED:
            break
    return cuts


def _cut(number: int, title: str, text: str, chance: random.Random) -> Cut | None:
    """A passage without a sentence; None where it has only one, or none that is long enough."""
    sentences = sentences_of(text)
    fitting = [sentence for sentence in sentences if len(terms_of(sentence.text)) >= SHORTEST]
    if len(sentences) < 2 or not fitting:
        return None
    gone = chance.choice(fitting)
    rest = f"{text[: gone.start]} {text[gone.end :]}".strip()
    places = [word.span() for word in WORD.finditer(rest)]
    first = chance.randrange(max(1, len(places) - STRETCH + 1))
    stretch = places[first : first + STRETCH]
    return Cut(number, title, text, rest, (gone.text, rest[stretch[0][0] : stretch[-1][1]])) if stretch else None


def _ranks(
    searcher: Searcher, cut: Cut, question: str, vector: NDArray[np.float32], changed: Mapping[int, float]
) -> list[float]:
    """The rank of a passage that was cut for each weight; infinity where it is not among the first.

    Args:
        searcher: whose terms are those of what remains.
        cut: the passage.
        question: that must find it.
        vector: of the question, [D].
        changed: the products of the question with what remains of each passage that was cut.
    """
    words = searcher.by_words(question, DEPTH)
    whole, floor = searcher.by_vectors(vector, DEPTH)
    table = {**dict(whole), **changed}
    vectors: Ranking = sorted(table.items(), key=lambda entry: (-entry[1], entry[0]))[:DEPTH]
    return [_rank(fuse(words, vectors, weight, floor=floor), cut.passage) for weight in WEIGHTS]


def _rank(ranking: Ranking, passage: int) -> float:
    return next((rank for rank, (number, _) in enumerate(ranking, start=1) if number == passage), float("inf"))
