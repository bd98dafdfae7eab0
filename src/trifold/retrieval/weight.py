"""How much vectors count beside words: measured on questions that the base itself is asked, with nobody's labels.

Some passages are asked for by a few words drawn from them, two or four (known-item queries, Azzopardi, de Rijke and Balog
2007): so few that several passages hold them all, and words alone do not settle which is meant.

Axes: Q questions, W weights.
"""

import random
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from trifold.retrieval.dense import Embedder
from trifold.retrieval.fusion import Ranking, fuse
from trifold.retrieval.passage import HAN
from trifold.retrieval.search import DEPTH, Searcher
from trifold.retrieval.store import Store

__all__ = ["WEIGHTS", "choose_weight", "measure_weight"]

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ASKED, FEWEST = 200, 20
"""Most passages that are asked for, and fewest that say anything."""
DRAWN = (2, 4)
"""Words in a question."""
CERTAIN = 3.0
"""How many standard errors the gain over words must be above zero."""
WORD = re.compile(rf"[{HAN}]{{1,3}}|[^\W_{HAN}]+")


def measure_weight(store: Store, searcher: Searcher, embedder: Embedder) -> float:
    """The weight that finds the base's own passages best, 0 where vectors do not surely help; within a transaction.

    Args:
        store: whose passages have vectors.
        searcher: of the store.
        embedder: the one that gave them.
    """
    asked = _questions(store)
    if len(asked) < FEWEST * len(DRAWN):
        return 0.0
    vectors = embedder.embed([question for question, _ in asked], query=True)
    ranks = [
        _ranks(searcher, question, vector, passage) for (question, passage), vector in zip(asked, vectors, strict=True)
    ]
    return choose_weight(1 / np.array(ranks))


def choose_weight(reciprocal_ranks: Float[NDArray, "asked weights"]) -> float:
    """The weight with the highest mean reciprocal rank among those that are surely better than words alone.

    Args:
        reciprocal_ranks: of the right passage of each question, for each of `WEIGHTS`, of which the first is 0.

    Returns:
        0 where no weight gains more than `CERTAIN` standard errors.

    Example:
        >>> choose_weight(np.tile(np.array([0.5, *[0.4] * 10]), (30, 1)))
        0.0
    """
    gain = reciprocal_ranks - reciprocal_ranks[:, :1]  # Q W
    error = gain.std(0, ddof=1) / np.sqrt(len(gain))
    sure = gain.mean(0) > CERTAIN * error
    return WEIGHTS[int(np.where(sure, gain.mean(0), 0.0).argmax())]


def _questions(store: Store) -> list[tuple[str, int]]:
    """Words of some passages, in their order, and the passage; chance is always the same."""
    chance = random.Random(0)
    numbers = [row[0] for row in store.base.execute("SELECT id FROM passages WHERE vector IS NOT NULL ORDER BY id")]
    chance.shuffle(numbers)
    asked = []
    for number in numbers[:ASKED]:
        (text,) = store.base.execute("SELECT text FROM passages WHERE id = ?", (number,)).fetchone()
        words = list(dict.fromkeys(WORD.findall(text)))
        asked += [(_some(words, count, chance), number) for count in DRAWN if len(words) > count]
    return asked


def _some(words: Sequence[str], count: int, chance: random.Random) -> str:
    return " ".join(words[place] for place in sorted(chance.sample(range(len(words)), count)))


def _ranks(searcher: Searcher, question: str, vector: NDArray[np.float32], passage: int) -> list[float]:
    """The rank of a passage for each weight; infinity where it is not among the first."""
    words = searcher.by_words(question, DEPTH)
    vectors, floor = searcher.by_vectors(vector, DEPTH)
    return [_rank(fuse(words, vectors, weight, floor=floor), passage) for weight in WEIGHTS]


def _rank(ranking: Ranking, passage: int) -> float:
    return next((rank for rank, (number, _) in enumerate(ranking, start=1) if number == passage), float("inf"))
