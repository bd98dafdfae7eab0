"""Question answering over a knowledge base: find passages, read them, answer with the place, or say "I don't know"."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from trifold.evaluation.calibration import risk_coverage
from trifold.evaluation.metric import mean
from trifold.evaluation.statistics import bootstrap
from trifold.presets.pretrained import Transformer
from trifold.retrieval import Embedder, Hit, KnowledgeBase, answer_from_triples, meaning_scores
from trifold.tasks.record import Record
from trifold.tasks.silence import in_order
from trifold.tasks.span_qa import SpanQATask
from trifold.tasks.task import Prediction, Task

__all__ = ["KnowledgeAnswer", "ask", "judge_knowledge", "read_passages"]

RECALL = (1, 5, 20)
TRUSTED = 0.6
"""From this score on a triple answers a question by itself."""


@runtime_checkable
class Reader(Protocol):
    """A model that reads passages, such as one that `trifold.load` gives."""

    @property
    def model(self) -> Transformer:
        """With its head."""
        ...

    @property
    def task(self) -> Task | None:
        """Of the kind span_qa."""
        ...


@dataclass(frozen=True, slots=True)
class KnowledgeAnswer:
    """What a knowledge base says to a question.

    Attributes:
        text: the answer; empty for "I don't know".
        document: where it stands.
        start, end: characters of the document.
        score: margin over no answer, or the score of a triple; comparable among answers of one reader.
        passage: the text around it.
        evidence: `passage` or `triple`.
        threshold: the least score of an answer that was asked for; None where any is given.
        looked_at: the passages that were read, in the order of the search.
    """

    text: str
    document: str = ""
    start: int = -1
    end: int = -1
    score: float = float("-inf")
    passage: str = ""
    evidence: str = "passage"
    threshold: float | None = None
    looked_at: tuple[Hit, ...] = ()


def ask(
    base: KnowledgeBase,
    reader: Reader | None,
    question: str,
    *,
    embedder: Embedder | None = None,
    k: int = 5,
    threshold: float | None = None,
    weight: float | None = None,
) -> KnowledgeAnswer:
    """Answer one question.

    Args:
        base: where to look.
        reader: a model fine-tuned for span_qa; None to answer from triples only.
        question: in plain words.
        embedder: for a search by vectors too.
        k: how many passages to read.
        threshold: least margin of an answer; None: the reader's own, which may be none.
        weight: how much vectors count in the search; None: as measured.
    """
    scorer = None if embedder is None else meaning_scores(embedder)
    triples = answer_from_triples(base, question, scorer=scorer, k=1)
    if triples and (triples[0].score >= TRUSTED or reader is None):
        best = triples[0]
        told = f"{best.subject} · {best.relation} · {best.object}"
        return KnowledgeAnswer(best.object, best.subject, score=best.score, passage=told, evidence="triple")
    if reader is None:
        return KnowledgeAnswer("")
    hits = base.search(question, k, embedder=embedder, weight=weight)
    answers = read_passages(reader, question, hits)
    least = least_margin(reader) if threshold is None else threshold
    looked = tuple(hits)
    if not answers or (least is not None and answers[0].score < least):
        score = answers[0].score if answers else float("-inf")
        return KnowledgeAnswer("", score=score, threshold=least, looked_at=looked)
    return replace(answers[0], threshold=least, looked_at=looked)


def read_passages(reader: Reader, question: str, hits: Sequence[Hit]) -> list[KnowledgeAnswer]:
    """The best span of each passage, best first: by the reader's margin less what a lower rank costs."""
    task = SpanQATask.of(reader.task)
    records = [Record((question, hit.passage.text)) for hit in hits]
    answers = []
    for hit, span in zip(hits, task.spans(reader.model, records), strict=True):
        start = hit.passage.start + span.start
        place = (hit.document, start, start + len(span.text))
        margin = span.margin if span.text else -math.inf
        answers.append(KnowledgeAnswer(span.text, *place, margin, hit.passage.text))
    order = in_order([answer.score for answer in answers])
    return [answers[number] for number in order if answers[number].text]


def least_margin(reader: Reader) -> float | None:
    """The least margin of an answer from a base that a reader gives; None for one that learned of none."""
    config = SpanQATask.of(reader.task).config
    return config.threshold if config.base_threshold is None else config.base_threshold


def judge_knowledge(
    base: KnowledgeBase,
    reader: Reader,
    records: Sequence[Record],
    *,
    embedder: Embedder | None = None,
    k: int = 5,
) -> dict[str, Any]:
    """The whole way judged: does the search find the passage, and does the reader then answer?

    A passage counts as the right one when it stands in the question's own context, or the context in it.

    Args:
        base: where to look.
        reader: a model fine-tuned for span_qa.
        records: questions with their contexts and gold answers.
        embedder: for a search by vectors too.
        k: how many passages the reader gets.

    Returns:
        Recall among the first 1, 5 and 20 passages, reciprocal rank, F1 and exact match, each with its interval; and the
        share of wrong answers for every share of questions answered.
    """
    task = SpanQATask.of(reader.task)
    ranks, answers = [], []
    for record in records:
        hits = base.search(record.inputs[0], max(k, *RECALL), embedder=embedder)
        right = [rank for rank, hit in enumerate(hits, start=1) if _same(hit.passage.text, record.inputs[1])]
        ranks.append(right[0] if right else math.inf)
        candidates = read_passages(reader, record.inputs[0], hits[:k])
        least = least_margin(reader)
        silent = not candidates or (least is not None and candidates[0].score < least)
        margin = candidates[0].score if candidates else -math.inf
        answers.append(Prediction("" if silent else candidates[0].text, details={"margin": margin}))
    tallies = {f"recall_at_{n}": mean([float(rank <= n) for rank in ranks]) for n in RECALL}
    tallies |= {"reciprocal_rank": mean([1 / rank for rank in ranks]), **task.measure(records, answers)}
    exact = tallies["exact_match"].rows[:, 0] > 0
    curve, area = risk_coverage(np.array([answer.details["margin"] for answer in answers]), exact)
    return {
        "task": "knowledge_base",
        "n": len(records),
        "metrics": {name: asdict(bootstrap(tally)) for name, tally in tallies.items()},
        "risk_coverage": {"area": area, "curve": [list(point) for point in curve]},
    }


def _same(passage: str, context: str) -> bool:
    return passage in context or context.strip() in passage
