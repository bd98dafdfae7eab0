"""`trifold classify`, `translate` and `ask`: what a fine-tuned model is for."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trifold.cli.index import VECTOR_WEIGHT, embedder_in, warn_unweighed
from trifold.cli.lines import answer_lines, say_answer
from trifold.cli.option import Command, Option, Request
from trifold.cli.passages import hit_facts, show_passages
from trifold.cli.tuned import (
    INPUT,
    PRECISION,
    TEXTS,
    given_rows,
    given_texts,
    reading_of,
    row_options,
    text_in,
    tuned_for,
)
from trifold.errors import UsageError
from trifold.locale import message
from trifold.task_kinds import classifying_kinds

__all__ = ["ASK", "CLASSIFY", "TRANSLATE"]

RUN = Option(name="run", positional=True, required=True, help="option_run_task")


def classify(request: Request) -> dict[str, Any]:
    """The label of each text, or of each of its words."""
    tuned = tuned_for(request.values.run, *classifying_kinds(), precision=request.values.precision)
    answers, texts = [], given_texts(request, request.values.text)
    for answered in answer_lines(request, tuned, texts):
        if answered.said is None:
            request.console.say()
            answers.append({"inputs": [], "answer": None, "confidence": None})
            continue
        inputs, said = list(answered.record.inputs), answered.said
        say_answer(request, texts, "\t".join([*_shown(said), " ".join(inputs), *_entities(said)]))
        answers.append({"inputs": inputs, "answer": said.answer, "confidence": said.confidence, **said.details})
    return {"answers": answers}


def _entities(said: Any) -> list[str]:
    return [f"{found['type']}: {found['text']}" for found in said.details.get("entities", ())]


def _shown(said: Any) -> list[str]:
    """A label with its confidence, or a score alone."""
    if isinstance(said.answer, float):
        return [f"{said.answer:.4f}"]
    label = said.answer if isinstance(said.answer, str) else " ".join(said.answer) or "-"
    return [label, f"{said.confidence or 0:.4f}"]


def translate(request: Request) -> dict[str, Any]:
    """The translation of each text."""
    tuned = tuned_for(request.values.run, "translation", precision=request.values.precision)
    left_out = tuned.task.left_out(tuned.model)
    if left_out:
        request.console.warn(message("generation.folder_left_out", names=", ".join(left_out)))
    translations, texts = [], given_texts(request, request.values.text)
    for answered in answer_lines(request, tuned, texts):
        say_answer(request, texts, "" if answered.said is None else answered.said.answer)
        source, target = ("", None) if answered.said is None else (answered.record.inputs[0], answered.said.answer)
        translations.append({"source": source, "target": target})
    return {"translations": translations}


def ask(request: Request) -> dict[str, Any]:
    """The answer to each question, from a context or from a knowledge base."""
    from trifold.tasks.span_qa import SpanQA

    values = request.values
    if (values.context is None) == (values.kb is None):
        raise UsageError("cli.missing_option", missing="--context / --kb", command="ask")
    reader, asked = _reader_and_questions(values)
    tuned = None if reader is None else tuned_for(reader, "span_qa")
    answer = _from_base(request, tuned, asked) if values.kb is not None else _from_context(request, tuned)
    questions = [
        text_in(row, SpanQA.roles[0], reading_of(request).columns)
        for row in given_rows(request, asked, keep_blank=True)
    ]
    found = [answer(question) if question else _nothing(request) for question in questions]
    return found[0] if len(found) == len(asked) == 1 else {"answers": found}


def _reader_and_questions(values: Any) -> tuple[str | None, Sequence[str]]:
    """The model that reads, and the questions; a single word on a knowledge base that is no model is a question.

    Raises:
        UsageError: a text is to be read, and nothing reads it.
    """
    asked = list(values.question or ())
    if values.kb is not None and not asked and (values.run is None or _is_question(values.run)):
        return None, list(filter(None, [values.run]))
    if values.run is None:
        raise UsageError("cli.missing_option", missing="run", command="ask")
    return values.run, asked


def _is_question(words: str) -> bool:
    """Whether what stands where a model may stand is neither a folder nor a name such as `owner/name`."""
    return not Path(words).is_dir() and ("/" not in words or any(map(str.isspace, words)))


def _nothing(request: Request) -> dict[str, Any]:
    """The answer to a blank line."""
    request.console.say()
    return {"question": "", "answer": None}


def _from_context(request: Request, tuned: Any) -> Callable[[str], dict[str, Any]]:
    from dataclasses import replace

    from trifold.data.reading import ReadReport, Source

    text = request.values.context
    place = Path(text)
    file = len(text) < 256 and place.is_file()
    context = "".join(Source(place, row_options(request), ReadReport()).blocks()) if file else text

    if request.values.threshold is not None:
        tuned.task.config = replace(tuned.task.config, threshold=request.values.threshold)

    def answer(question: str) -> dict[str, Any]:
        (prediction,) = tuned.predict([(question, context)])
        say_answer(request, request.values.question or (), prediction.answer or message("cli.do_not_know"))
        return {
            "question": question,
            "answer": prediction.answer or None,
            "confidence": prediction.confidence,
            **prediction.details,
        }

    return answer


def _from_base(request: Request, tuned: Any, asked: Sequence[str]) -> Callable[[str], dict[str, Any]]:
    """Answers from a knowledge base; without a reader the passages that may hold them, the best sentence marked."""
    from dataclasses import replace

    from trifold.retrieval import KnowledgeBase
    from trifold.tasks.knowledge import ask, least_margin

    values = request.values
    base, embedder = KnowledgeBase(values.kb), embedder_in(values.embedder)
    warn_unweighed(request, base)
    if tuned is not None and values.threshold is None and least_margin(tuned) is None:
        request.console.note(message("cli.never_silent", path=values.run))

    def answer(question: str) -> dict[str, Any]:
        if tuned is not None:
            tuned.input_check.look_at([question])
        how: dict[str, Any] = {"embedder": embedder, "k": values.k, "weight": values.vector_weight}
        reply = ask(base, tuned, question, threshold=values.threshold, **how)
        if tuned is None and not reply.text:
            hits = base.search(question, values.k, embedder=embedder, weight=values.vector_weight)
            return {"question": question, "text": None, "passages": show_passages(request, asked, question, hits)}
        source = ""
        if reply.text:
            place = f"{reply.document}:{reply.start}-{reply.end}" if reply.start >= 0 else reply.document
            source = message("cli.found_in", place=place, passage=reply.passage, score=f"{reply.score:.3f}")
        say_answer(request, asked, reply.text or message("cli.do_not_know"), source)
        looked = [hit_facts(hit) for hit in reply.looked_at]
        return {
            "question": question,
            **asdict(replace(reply, looked_at=())),
            "text": reply.text or None,
            "looked_at": looked,
        }

    return answer


CLASSIFY = Command(name="classify", options=(RUN, TEXTS, *INPUT, PRECISION), run=classify, sections=("data",))
TRANSLATE = Command(name="translate", options=(RUN, TEXTS, *INPUT, PRECISION), run=translate, sections=("data",))
ASK = Command(
    name="ask",
    options=(
        Option(name="run", positional=True, help="option_run_reader"),
        Option(name="question", positional=True, many=True, help="option_question"),
        *INPUT,
        Option(name="context", help="option_context"),
        Option(name="kb", kind="folder", help="option_kb"),
        Option(name="embedder", help="option_embedder"),
        VECTOR_WEIGHT,
        Option(name="k", kind="integer", low=1, high=1000, default=5, help="option_k"),
        Option(name="threshold", kind="number", help="option_threshold"),
    ),
    run=ask,
    sections=("data",),
)
