"""Answers from triples: which subject a question names, and which of its relations it asks for."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trifold.retrieval.dense import Embedder
from trifold.retrieval.knowledge_base import KnowledgeBase
from trifold.retrieval.passage import HAN, fold, terms_of

__all__ = ["TripleAnswer", "answer_from_triples", "lexical_scores", "meaning_scores"]

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
    answers: list[TripleAnswer] = []
    for name, subjects in known.items():
        if len(name) * 2 < longest:  # a name inside another is rarely the one that is meant
            continue
        rest = asked.replace(name, " ", 1)
        for subject in subjects:
            triples = base.triples(subject)
            scores = (scorer or lexical_scores)(rest, [relation for relation, _ in triples])
            answers += [
                TripleAnswer(subject, relation, value, float(score) + len(name) / max(len(asked), 1))
                for (relation, value), score in zip(triples, scores, strict=True)
            ]
    return sorted(answers, key=lambda answer: -answer.score)[:k]


def _stretches(text: str) -> set[str]:
    """What may be a name in a text."""
    ends = range(1, LONGEST_NAME + 1)
    spans = ((start, start + n) for start in range(len(text)) for n in ends if start + n <= len(text))
    return {text[start:stop] for start, stop in spans if _whole(text, start, stop)}


def _whole(text: str, start: int, stop: int) -> bool:
    """Whether a stretch neither begins nor ends within a Latin word."""
    stretch = text[start:stop]
    if stretch != stretch.strip():
        return False
    before, after = text[max(start - 1, 0) : start], text[stop : stop + 1]
    inside = (before and _latin(before) and _latin(stretch[0])) or (after and _latin(after) and _latin(stretch[-1]))
    return not inside


def _latin(letter: str) -> bool:
    return letter.isascii() and letter.isalnum()


def meaning_scores(embedder: Embedder) -> Scorer:
    """A scorer for relations that a question asks for in other words: shared words, or likeness of the vectors.

    Whichever says more counts. The likeness counts from 0 to 1 between the mean of the subject's relations and a cosine of
    1, so that relations which are all somewhat like the question do not look as if one of them were meant.

    Args:
        embedder: a model fine-tuned for embedding, best on pairs of a question and the relation it asks for.

    Example:
        >>> class Signs:
        ...     name = "signs"
        ...     def embed(self, texts, *, query=False):
        ...         return np.array([[1.0, 0.0] if "写" in text or text == "作者" else [0.0, 1.0] for text in texts])
        >>> meaning_scores(Signs())("谁写的", ["作者", "朝代"])
        [1.0, 0.0]
    """

    def scores(rest: str, relations: Sequence[str]) -> list[float]:
        shared = lexical_scores(rest, relations)
        if not relations or not rest.strip():
            return shared
        cosines = embedder.embed(relations) @ embedder.embed([rest], query=True)[0]
        middle = min(float(cosines.mean()), 0.99)
        alike = np.clip((cosines - middle) / (1 - middle), 0, 1)
        return [max(one, float(other)) for one, other in zip(shared, alike, strict=True)]

    return scores


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
