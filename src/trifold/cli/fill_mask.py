"""`trifold fill-mask`: what may stand at a masked place."""

from dataclasses import asdict
from typing import Any

from trifold.cli.option import Command, Option, Request
from trifold.cli.tuned import INPUT, MASKED, given_rows, given_texts, text_of

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Show the likeliest tokens for each mask of each text."""
    from trifold.tasks import load

    values = request.values
    texts = [*given_texts(request, values.words), *given_texts(request, values.text)]
    rows = given_rows(request, texts)
    model, filled = load(values.run), []
    for row in rows:
        text = text_of(row)
        masks = model.fill_mask(text, top_k=values.top_k)
        if len(rows) > 1:
            request.console.say(text)
        for number, candidates in enumerate(masks, start=1):
            for candidate in candidates:
                request.console.say(f"{number}  {candidate.probability:7.2%}  {candidate.token}")
        filled.append({"masks": [[asdict(candidate) for candidate in candidates] for candidates in masks]})
    return filled[0] if len(filled) == len(texts) == 1 else {"texts": filled}


COMMAND = Command(
    name="fill-mask",
    options=(
        Option(name="run", positional=True, required=True),
        MASKED,
        Option(name="text", many=True, help="option_masked"),
        *INPUT,
        Option(name="top-k", kind="integer", low=1, default=5, help="option_candidates"),
    ),
    run=run,
    sections=("data",),
)
