"""Passages of a knowledge base as a person and as a program see them, with the sentence that fits the question best."""

import os
from typing import TYPE_CHECKING, Any

from trifold.cli.console import Console
from trifold.cli.lines import say_answer
from trifold.cli.option import Request
from trifold.locale import message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifold.retrieval import Hit

__all__ = ["hit_facts", "marked", "sentence_facts", "show_passages"]

BOLD, PLAIN = ("\x1b[1m", "\x1b[0m"), (">>", "<<")
"""What stands around the best sentence: on a terminal, and elsewhere."""


def hit_facts(hit: "Hit") -> dict[str, Any]:
    """A hit as JSON data; its places are characters of its document."""
    return {
        "document": hit.document,
        "title": hit.title,
        "start": hit.passage.start,
        "end": hit.passage.end,
        "text": hit.passage.text,
        "score": hit.score,
        "word_rank": hit.word_rank,
        "vector_rank": hit.vector_rank,
    }


def sentence_facts(question: str, hit: "Hit") -> dict[str, Any]:
    """The sentence of a hit that fits a question best, as JSON data; its places are characters of the document."""
    from trifold.retrieval import best_sentence

    sentence, begin = best_sentence(question, hit.passage.text), hit.passage.start
    return {"text": sentence.text, "start": begin + sentence.start, "end": begin + sentence.end}


def marked(hit: "Hit", sentence: dict[str, Any], console: Console) -> str:
    """A passage with marks around its best sentence."""
    terminal = console.out.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    before, after = BOLD if terminal else PLAIN
    text, first, last = hit.passage.text, sentence["start"] - hit.passage.start, sentence["end"] - hit.passage.start
    return f"{text[:first]}{before}{text[first:last]}{after}{text[last:]}"


def show_passages(
    request: Request, asked: "Sequence[str]", question: str, hits: "Sequence[Hit]"
) -> list[dict[str, Any]]:
    """Show passages that may hold an answer; of questions from a file, the best sentence of each, on one line.

    Returns:
        The passages with their best sentences, as JSON data.
    """
    facts = [{**hit_facts(hit), "sentence": sentence_facts(question, hit)} for hit in hits]
    if not facts:
        say_answer(request, asked, message("cli.do_not_know"))
    elif not asked or request.values.input is not None:
        say_answer(request, asked, facts[0]["sentence"]["text"], _place(facts[0]))
    else:
        for hit, fact in zip(hits, facts, strict=True):
            request.console.say(f"{_place(fact)}\n  {marked(hit, fact['sentence'], request.console)}")
    return facts


def _place(fact: dict[str, Any]) -> str:
    return f"{fact['document']}:{fact['sentence']['start']}-{fact['sentence']['end']}"
