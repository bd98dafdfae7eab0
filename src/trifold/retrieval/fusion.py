"""Words and vectors in one ranking: by scores, not by ranks, so that a search that is sure of itself keeps its say."""

from collections.abc import Sequence

__all__ = ["Ranking", "fuse"]

Ranking = Sequence[tuple[int, float]]
"""Numbers of passages with their scores, best first."""


def fuse(words: Ranking, vectors: Ranking, weight: float, *, floor: float = 0.0) -> Ranking:
    """One ranking of two, by the sum of their scores on one scale.

    Score of a passage: (1 - weight) * its BM25 / the highest + weight * (its product - floor) / (the highest - floor). The
    sum of scores does better than that of reciprocal ranks (Bruch, Gai and Ingber 2023), which forget how far the first
    is ahead of the second. At weight 0 the words decide alone, and the vectors follow where the words found nothing.

    Args:
        words: BM25 of passages.
        vectors: products of the query with the passages' vectors.
        weight: how much the vectors count, from 0 to 1.
        floor: what a passage's product counts from: the mean over the base.

    Example:
        >>> [number for number, _ in fuse([(1, 9.0), (2, 8.5)], [(2, 0.9), (3, 0.8)], 0.3)]
        [2, 1, 3]
        >>> [number for number, _ in fuse([(1, 9.0), (2, 8.5)], [(2, 0.9), (3, 0.8)], 0.0)]
        [1, 2, 3]
    """
    total: dict[int, float] = {}
    for ranking, share, low in ((words, 1 - weight, 0.0), (vectors, weight, floor)):
        if ranking:
            scale = max(ranking[0][1] - low, 1e-9)
            for number, score in ranking:
                total[number] = total.get(number, 0.0) + share * max(score - low, 0.0) / scale
    order = {number: place for ranking in (vectors, words) for place, (number, _) in enumerate(ranking)}
    worded = {number for number, _ in words}
    return sorted(total.items(), key=lambda entry: (-entry[1], entry[0] not in worded, order[entry[0]]))
