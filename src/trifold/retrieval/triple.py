"""Answers from triples: which subject a question names, and which of its relations it asks for."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trifold.retrieval.knowledge_base import KnowledgeBase
from trifold.retrieval.passage import HAN, fold, terms_of

__all__ = ["TripleAnswer", "answer_from_triples", "lexical_scores"]

LONGEST_NAME, LONGEST_QUESTION = 40, 1_000
Scorer = Callable[[str, Sequence[str]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class TripleAnswer:
    """A triple that answers a question.

    Attributes:
        subject, relation, object: the triple.
        score: of the relation, by the scorer, plus the share of the question that the subject's name takes up.

    Example:
        >>> TripleAnswer("红楼梦", "作者", "曹雪芹", 1.3).object
        '曹雪芹'
    """

    subject: str
    relation: str
    object: str
    score: float


def answer_from_triples(
    base: KnowledgeBase, question: str, *, scorer: Scorer | None = None, k: int = 5
) -> list[TripleAnswer]:
    r"""Triples whose subject the question names and whose relation it asks for, best first; none where it names nobody.

    Args:
        base: with triples.
        question: in plain words; its first thousand characters are looked at.
        scorer: rest of the question and names of relations to a score for each; None for shared words and characters.
        k: how many.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as place:
        ...     rows = "subject\trelation\tobject\n红楼梦\t作者\t曹雪芹\n红楼梦\t朝代\t清代\n"
        ...     _ = (Path(place) / "t.tsv").write_text(rows, encoding="utf-8")
        ...     base, report = KnowledgeBase.build([place], Path(place) / "kb")
        ...     answer_from_triples(base, "红楼梦的作者是谁？")[0].object
        '曹雪芹'
    """
    asked = fold(question)[:LONGEST_QUESTION]
    known = base.subjects(sorted(_stretches(asked)))
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


def _stretches(text: str) -> set[str]:
    """What may be a name in a text."""
    ends = range(1, LONGEST_NAME + 1)
    spans = ((start, start + n) for start in range(len(text)) for n in ends if start + n <= len(text))
    return {text[start:stop] for start, stop in spans if _whole(text, start, stop)}


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
        >>> lexical_scores("的作者是谁", ["作 者", "【朝代】"])
        [1.0, 0.0]
    """
    asked, letters = set(terms_of(rest)), set(fold(rest))
    scores = []
    for relation in relations:
        name = re.sub(rf"(?<=[{HAN}])\s+(?=[{HAN}])", "", fold(relation))
        terms = terms_of(name) or [name]
        whole = sum(term in asked for term in terms) / len(terms)
        signs = [letter for letter in name if letter.isalnum()]
        loose = sum(letter in letters for letter in signs) / max(len(signs), 1)
        scores.append(max(whole, 0.5 * loose))
    return scores
