"""`trifold fill-mask`: what may stand at a masked place."""

from dataclasses import asdict
from typing import Any

from trifold.cli.option import Command, Option, Request

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Show the likeliest tokens for each mask."""
    from trifold.tasks import load

    masks = load(request.values.run).fill_mask(request.values.text, top_k=request.values.top_k)
    for number, candidates in enumerate(masks, start=1):
        for candidate in candidates:
            request.console.say(f"{number}  {candidate.probability:7.2%}  {candidate.token}")
    return {"masks": [[asdict(candidate) for candidate in candidates] for candidates in masks]}


COMMAND = Command(
    name="fill-mask",
    options=(
        Option(name="run", positional=True, required=True),
        Option(name="text", required=True, help="option_masked"),
        Option(name="top-k", kind="integer", low=1, default=5, help="option_candidates"),
    ),
    run=run,
)
