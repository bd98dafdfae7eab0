"""When a reader of a knowledge base is to say "I don't know": taught, and tried, on questions whose answer is not there.

The contexts of held-out questions are made a base. Every other question is asked of all of it, the rest of what is left
when the passages that hold its answer are taken out, so that each is read with passages that fit its words best.

Axes: Q questions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from trifold.retrieval import Hit, KnowledgeBase
from trifold.tasks.judgement import risk_at_coverage
from trifold.tasks.record import Record

__all__ = ["Trial", "asked_elsewhere", "best_threshold", "in_order", "try_base"]

RANK = 4.0
"""What each e-fold of rank costs, in nats: on 87 questions about Python's library, F1 was 0.26 without, 0.60 with it."""
PASSAGES, LOOKED_AT, MOST, FEWEST = 5, 20, 200, 10
"""Passages read for a question and looked at for them; most and fewest questions of each trial."""
NEAR = 3
"""Passages that fit a question, one of which it is asked of."""

Read = Callable[[Sequence[Record]], Sequence[tuple[str, float]]]
"""The best span of each record's context, and its margin over no answer."""
Overlap = Callable[[Sequence[Record], Sequence[str]], Float[NDArray, "asked"]]
"""F1 of an answer to each record, whose gold is empty where there is none."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a reader said to questions of which a base could answer only some.

    Attributes:
        margins: of the answers over no answer, [Q].
        f1: of the answers, 0 where there is none to be had, [Q].
        held: whether the base held the answer, [Q].

    Example:
        >>> Trial(np.array([2.0, 1.0]), np.array([1.0, 0.0]), np.array([True, False])).told(1.5)["answered"]
        0.5
    """

    margins: Float[NDArray, "asked"]
    f1: Float[NDArray, "asked"]
    held: Bool[NDArray, "asked"]

    def told(self, threshold: float) -> dict[str, Any]:
        """The trial as JSON data: how many of its answers are wrong for every share of questions answered."""
        spoken, right = self.margins >= threshold, self.f1 == 1
        return {
            "n": len(self.margins),
            "held": int(self.held.sum()),
            "threshold": round(threshold, 6),
            "answered": round(float(spoken.mean()), 6),
            "risk": round(float((~right[spoken]).mean()), 6) if spoken.any() else None,
            "silent_where_held": round(float((~spoken[self.held]).mean()), 6),
            "silent_where_not_held": round(float((~spoken[~self.held]).mean()), 6),
            "f1": round(float(np.where(spoken, self.f1, ~self.held).mean()), 6),
            "f1_never_silent": round(float(self.f1.mean()), 6),
            "risk_coverage": risk_at_coverage(self.margins, right),
        }


def in_order(margins: Sequence[float]) -> list[int]:
    """Passages by their answers' margins less what a lower rank costs, best first.

    A reader that has seen each question with its own passage only is sure of itself in others too, so the rank that the
    search gave must count.

    Args:
        margins: in the order of the search; minus infinity for a passage without an answer.

    Example:
        >>> in_order([1.0, 9.0, 2.0])
        [1, 0, 2]
    """
    scores = [margin - RANK * math.log(rank) for rank, margin in enumerate(margins, start=1)]
    return sorted(range(len(scores)), key=lambda number: -scores[number])


def asked_elsewhere(records: Sequence[Record], share: float) -> list[Record]:
    """Questions asked of other contexts that fit their words but hold no answer, so that a reader learns to see that.

    Without them a reader that has seen every question beside its answer finds one in any text (Rajpurkar et al. 2018).

    Args:
        records: questions with their contexts and gold answers.
        share: of the questions, spread evenly; nothing is made where some are without an answer as they are.

    Example:
        >>> from trifold.tasks.record import Record
        >>> paris = Record(("Where is it?", "It is in Paris."), [("Paris", 9)])
        >>> lima = Record(("Where was it?", "It was in Lima."), [("Lima", 10)])
        >>> [record.inputs[1] for record in asked_elsewhere([paris, lima], 1.0)]
        ['It was in Lima.', 'It is in Paris.']
    """
    contexts = [text for text in dict.fromkeys(record.inputs[1] for record in records) if text.strip()]
    if len(contexts) < 2 or not all(record.gold for record in records):
        return []
    base, elsewhere = KnowledgeBase.from_texts(contexts), []
    for number in range(round(share * len(records))):
        record = records[int(number / share)]
        hits = [hit for hit in base.search(record.inputs[0], PASSAGES) if not _holds(hit, record)][:NEAR]
        if hits:
            elsewhere.append(Record((record.inputs[0], hits[number % len(hits)].passage.text), ()))
    return elsewhere


def try_base(records: Sequence[Record], read: Read, overlap: Overlap) -> Trial | None:
    """Ask a base of the records' contexts, which holds the answer to every other question only.

    Args:
        records: questions with their contexts and gold answers, none of which the reader was trained on.
        read: the reader.
        overlap: how its answers are judged.

    Returns:
        None where there are too few questions, or too few contexts to look for the answer elsewhere.
    """
    asked = [record for record in records if record.gold][:MOST]
    contexts = list(dict.fromkeys(record.inputs[1] for record in records))
    if len(asked) < FEWEST or len(contexts) <= PASSAGES:
        return None
    base = KnowledgeBase.from_texts([text for text in contexts if text.strip()])
    trials, said, margins = list[Record](), list[str](), list[float]()
    for number, record in enumerate(asked):
        held, hits = number % 2 == 0, base.search(record.inputs[0], LOOKED_AT)
        passages = [hit.passage.text for hit in hits if held or not _holds(hit, record)][:PASSAGES]
        answers = read([Record((record.inputs[0], text)) for text in passages])
        order = in_order([margin if text else -math.inf for text, margin in answers])
        if order and answers[order[0]][0]:
            text, margin = answers[order[0]]
            trials.append(record if held else Record(record.inputs, ()))
            said.append(text)
            margins.append(margin)
    held = np.array([bool(record.gold) for record in trials])
    if len(trials) < FEWEST or held.all() or not held.any():
        return None
    return Trial(np.array(margins), np.where(held, overlap(trials, said), 0.0), held)


def _holds(hit: Hit, record: Record) -> bool:
    """Whether a passage may answer a question: it is of its context, or has the words of an answer."""
    text = hit.passage.text
    return text in record.inputs[1] or any(answer in text for answer, _ in record.gold)


def best_threshold(
    margins: Float[NDArray, "asked"], told: Float[NDArray, "asked"], silent: Float[NDArray, "asked"]
) -> float:
    """The least margin of an answer with which what is gained is most.

    Args:
        margins: of the answers.
        told: what each answer gains.
        silent: what no answer gains.

    Example:
        >>> best_threshold(np.array([3.0, 1.0]), np.array([1.0, 0.0]), np.array([0.0, 1.0]))
        2.0
    """
    order = np.argsort(-margins)  # answering the first n of these, silent on the rest
    gain = np.concatenate([[silent.sum()], silent.sum() + np.cumsum((told - silent)[order])])
    best = int(gain.argmax())
    edges = np.concatenate([[margins[order[0]] + 1], margins[order], [margins[order[-1]] - 1]])
    return float((edges[best] + edges[best + 1]) / 2)
