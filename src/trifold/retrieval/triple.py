"""Answers from triples: which subject a question names, and which of its relations it asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trifold.retrieval.knowledge_base import KnowledgeBase
from trifold.retrieval.passage import terms_of

__all__ = ["TripleAnswer", "answer_from_triples", "lexical_scores"]

LONGEST = 40
Scorer = Callable[[str, Sequence[str]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class TripleAnswer:
    """A triple that answers a question.

    Attributes:
        subject, relation, object: the triple.
        score: of the relation, by the scorer, plus the share of the question that the subject's name takes up.
    """

    subject: str
    relation: str
    object: str
    score: float


def answer_from_triples(
    base: KnowledgeBase, question: str, *, scorer: Scorer | None = None, k: int = 5
) -> list[TripleAnswer]:
    """Triples whose subject the question names and whose relation it asks for, best first; none where it names nobody.

    Args:
        base: with triples.
        question: in plain words.
        scorer: rest of the question and names of relations to a score for each; None for shared words and characters.
        k: how many.
    """
    asked = question.lower()
    spans = [(start, stop) for start in range(len(asked)) for stop in range(start + 1, min(start + LONGEST, len(asked)) + 1)
             if _whole(asked, start, stop)]  # fmt: skip
    known = base.subjects(sorted({asked[start:stop] for start, stop in spans}))
    longest = max(map(len, known), default=0)
    found: list[TripleAnswer] = []
    for name, subjects in known.items():
        if len(name) * 2 < longest:  # a name inside another is rarely the one that is meant
            continue
        rest = asked.replace(name, " ", 1)
        for subject in subjects:
            triples = base.triples(subject)
            scores = (scorer or lexical_scores)(rest, [relation for relation, _ in triples])
            found += [TripleAnswer(subject, relation, value, float(score) + len(name) / max(len(asked), 1))
                      for (relation, value), score in zip(triples, scores, strict=True)]  # fmt: skip
    return sorted(found, key=lambda one: -one.score)[:k]


def _whole(text: str, start: int, stop: int) -> bool:
    """Whether a stretch neither begins nor ends within a Latin word."""
    part = text[start:stop]
    if part != part.strip():
        return False
    before, after = text[max(start - 1, 0) : start], text[stop : stop + 1]
    inside = (before and _latin(before) and _latin(part[0])) or (after and _latin(after) and _latin(part[-1]))
    return not inside


def _latin(letter: str) -> bool:
    return letter.isascii() and letter.isalnum()


def lexical_scores(rest: str, relations: Sequence[str]) -> list[float]:
    """How much of each relation's name stands in the rest of a question: its terms, or half as much its characters.

    Example:
        >>> lexical_scores("的作者是谁", ["作者", "朝代"])
        [1.0, 0.0]
    """
    asked, letters = set(terms_of(rest)), set(rest)
    scores = []
    for relation in relations:
        terms = terms_of(relation) or [relation]
        whole = sum(term in asked for term in terms) / len(terms)
        loose = sum(letter in letters for letter in relation) / max(len(relation), 1)
        scores.append(max(whole, 0.5 * loose))
    return scores
