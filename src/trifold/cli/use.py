"""`trifold classify`, `translate` and `ask`: what a fine-tuned model is for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trifold.cli.option import Command, Option, Request
from trifold.cli.tuned import tuned_for
from trifold.errors import UsageError

__all__ = ["ASK", "CLASSIFY", "TRANSLATE"]

RUN = Option(name="run", positional=True, required=True, help="option_run_task")
TEXTS = Option(name="text", positional=True, many=True, help="option_texts")
INPUT = Option(name="input", kind="file", help="option_input")


def _rows(request: Request, column: str) -> list[Any]:
    """The texts of the command line, of a file, or of standard input (`-`)."""
    from trifold.data.rows import Row, read_rows

    texts, file = list(request.values.text or []), request.values.input
    if texts == ["-"] or (not texts and file is None):
        return list(read_rows("-"))
    return [*(Row({column: text}, f"#{number}") for number, text in enumerate(texts, 1)),
            *(read_rows(file) if file is not None else [])]  # fmt: skip


def _records(tuned: Any, rows: Sequence[Any]) -> list[Any]:
    """Records without labels, with columns found as in training; plain lines are the first role."""
    from trifold.tasks.record import read_records

    roles = tuned.task.roles
    given = {roles[0].name: "text"} if rows and set(rows[0].values) == {"text"} else {}
    unlabelled = [role for role in roles if not role.label]
    return read_records(rows, unlabelled, given, tuned.task.record, labelled=False)


def classify(request: Request) -> dict[str, Any]:
    """The label of each text, or of each of its words."""
    tuned = tuned_for(request.values.run, "classification", "tagging")
    records = _records(tuned, _rows(request, "text"))
    made = tuned.task.predict(tuned.model, records)
    answers = []
    for record, one in zip(records, made, strict=True):
        shown = one.answer if isinstance(one.answer, str) else " ".join(one.answer) or "-"
        request.console.say(f"{shown}\t{one.confidence or 0:.4f}\t{' '.join(record.inputs)}")
        answers.append(
            {"inputs": list(record.inputs), "answer": one.answer, "confidence": one.confidence, **one.details}
        )
    return {"answers": answers}


def translate(request: Request) -> dict[str, Any]:
    """The translation of each text."""
    tuned = tuned_for(request.values.run, "translation")
    records = _records(tuned, _rows(request, "text"))
    made = tuned.task.predict(tuned.model, records)
    for one in made:
        request.console.say(one.answer)
    pairs = zip(records, made, strict=True)
    return {"translations": [{"source": record.inputs[0], "target": one.answer} for record, one in pairs]}


def ask(request: Request) -> dict[str, Any]:
    """The answer to a question, from a context or from a knowledge base."""
    values = request.values
    if (values.context is None) == (values.kb is None):
        raise UsageError("cli.missing_option", missing="--context / --kb", command="ask")
    return _ask_base(request) if values.kb is not None else _ask_context(request)


def _ask_context(request: Request) -> dict[str, Any]:
    from trifold.data.rows import Row
    from trifold.locale import message

    tuned, values = tuned_for(request.values.run, "span_qa"), request.values
    place = Path(values.context)
    context = place.read_text(encoding="utf-8") if len(values.context) < 256 and place.is_file() else values.context
    row = Row({"question": values.question, "context": context}, "--context")
    columns = {"question": "question", "context": "context"}
    (found,) = tuned.task.predict(tuned.model, [tuned.task.record(row, columns)])
    request.console.say(found.answer or message("cli.do_not_know"))
    return {
        "question": values.question,
        "answer": found.answer or None,
        "confidence": found.confidence,
        **found.details,
    }


def _ask_base(request: Request) -> dict[str, Any]:
    from dataclasses import asdict

    from trifold.cli.index import embedder_in
    from trifold.locale import message
    from trifold.retrieval import KnowledgeBase
    from trifold.tasks.knowledge import ask as look_up

    values, tuned = request.values, tuned_for(request.values.run, "span_qa")
    found = look_up(KnowledgeBase(values.kb), tuned, values.question, embedder=embedder_in(values.embedder), k=values.k,
                    threshold=values.threshold)  # fmt: skip
    request.console.say(found.text or message("cli.do_not_know"))
    if found.text:
        place = f"{found.document}:{found.start}-{found.end}" if found.start >= 0 else found.document
        request.console.say(message("cli.found_in", place=place, passage=found.passage, score=f"{found.score:.3f}"))
    return {"question": values.question, **asdict(found), "text": found.text or None}


CLASSIFY = Command(name="classify", options=(RUN, TEXTS, INPUT), run=classify)
TRANSLATE = Command(name="translate", options=(RUN, TEXTS, INPUT), run=translate)
ASK = Command(
    name="ask",
    options=(
        RUN,
        Option(name="question", positional=True, required=True, help="option_question"),
        Option(name="context", help="option_context"),
        Option(name="kb", kind="folder", help="option_kb"),
        Option(name="embedder", help="option_embedder"),
        Option(name="k", kind="integer", low=1, high=1000, default=5, help="option_k"),
        Option(name="threshold", kind="number", help="option_threshold"),
    ),
    run=ask,
)
