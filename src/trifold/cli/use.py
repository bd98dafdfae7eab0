"""`trifold classify`, `translate` and `ask`: what a fine-tuned model is for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trifold.cli.option import Command, Option, Request
from trifold.cli.tuned import INPUT, PRECISION, TEXTS, given_rows, text_in, tuned_for, unlabelled_records
from trifold.errors import UsageError

__all__ = ["ASK", "CLASSIFY", "TRANSLATE"]

RUN = Option(name="run", positional=True, required=True, help="option_run_task")


def classify(request: Request) -> dict[str, Any]:
    """The label of each text, or of each of its words."""
    tuned = tuned_for(request.values.run, "classification", "regression", "tagging", precision=request.values.precision)
    records = unlabelled_records(tuned, given_rows(request, request.values.text or ()))
    made = tuned.task.predict(tuned.model, records)
    answers = []
    for record, one in zip(records, made, strict=True):
        named = [f"{found['type']}: {found['text']}" for found in one.details.get("entities", ())]
        request.console.say("\t".join([*_shown(one), " ".join(record.inputs), *named]))
        answers.append(
            {"inputs": list(record.inputs), "answer": one.answer, "confidence": one.confidence, **one.details}
        )
    return {"answers": answers}


def _shown(said: Any) -> list[str]:
    """A label with its confidence, or a score alone."""
    if isinstance(said.answer, float):
        return [f"{said.answer:.4f}"]
    label = said.answer if isinstance(said.answer, str) else " ".join(said.answer) or "-"
    return [label, f"{said.confidence or 0:.4f}"]


def translate(request: Request) -> dict[str, Any]:
    """The translation of each text."""
    tuned = tuned_for(request.values.run, "translation", precision=request.values.precision)
    records = unlabelled_records(tuned, given_rows(request, request.values.text or ()))
    made = tuned.task.predict(tuned.model, records)
    for one in made:
        request.console.say(one.answer)
    pairs = zip(records, made, strict=True)
    return {"translations": [{"source": record.inputs[0], "target": one.answer} for record, one in pairs]}


def ask(request: Request) -> dict[str, Any]:
    """The answer to each question, from a context or from a knowledge base."""
    values = request.values
    if (values.context is None) == (values.kb is None):
        raise UsageError("cli.missing_option", missing="--context / --kb", command="ask")
    tuned = tuned_for(values.run, "span_qa")
    answer = _from_base(request, tuned) if values.kb is not None else _from_context(request, tuned)
    asked = values.question or ()
    found = [answer(text_in(row, tuned.task.roles[0])) for row in given_rows(request, asked)]
    return found[0] if len(found) == len(asked) == 1 else {"answers": found}


def _from_context(request: Request, tuned: Any) -> Callable[[str], dict[str, Any]]:
    from trifold.data.rows import Row
    from trifold.locale import message

    given = request.values.context
    place = Path(given)
    context = place.read_text(encoding="utf-8") if len(given) < 256 and place.is_file() else given

    def answer(question: str) -> dict[str, Any]:
        row = Row({"question": question, "context": context}, "--context")
        (found,) = tuned.task.predict(
            tuned.model, [tuned.task.record(row, {"question": "question", "context": "context"})]
        )
        request.console.say(found.answer or message("cli.do_not_know"))
        return {"question": question, "answer": found.answer or None, "confidence": found.confidence, **found.details}

    return answer


def _from_base(request: Request, tuned: Any) -> Callable[[str], dict[str, Any]]:
    from dataclasses import asdict

    from trifold.cli.index import embedder_in
    from trifold.locale import message
    from trifold.retrieval import KnowledgeBase
    from trifold.tasks.knowledge import ask as look_up

    values = request.values
    base, embedder = KnowledgeBase(values.kb), embedder_in(values.embedder)

    def answer(question: str) -> dict[str, Any]:
        found = look_up(base, tuned, question, embedder=embedder, k=values.k, threshold=values.threshold)
        request.console.say(found.text or message("cli.do_not_know"))
        if found.text:
            place = f"{found.document}:{found.start}-{found.end}" if found.start >= 0 else found.document
            request.console.say(message("cli.found_in", place=place, passage=found.passage, score=f"{found.score:.3f}"))
        return {"question": question, **asdict(found), "text": found.text or None}

    return answer


CLASSIFY = Command(name="classify", options=(RUN, TEXTS, *INPUT, PRECISION), run=classify)
TRANSLATE = Command(name="translate", options=(RUN, TEXTS, *INPUT, PRECISION), run=translate)
ASK = Command(
    name="ask",
    options=(
        RUN,
        Option(name="question", positional=True, many=True, help="option_question"),
        *INPUT,
        Option(name="context", help="option_context"),
        Option(name="kb", kind="folder", help="option_kb"),
        Option(name="embedder", help="option_embedder"),
        Option(name="k", kind="integer", low=1, high=1000, default=5, help="option_k"),
        Option(name="threshold", kind="number", help="option_threshold"),
    ),
    run=ask,
)
