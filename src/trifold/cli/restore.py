"""`trifold restore`: what an encoder-decoder puts in the place of sentinels."""

from dataclasses import asdict
from typing import Any

from trifold.cli.option import Command, Option, Request

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Show the restored text."""
    from trifold.generation import Generator, Sampling, restore_spans

    generator = Generator.from_pretrained(request.values.run)
    found = restore_spans(generator, request.values.text, Sampling(temperature=0.0))
    request.console.say(found.text)
    return asdict(found)


COMMAND = Command(
    name="restore",
    options=(
        Option(name="run", positional=True, required=True),
        Option(name="text", required=True, help="option_corrupted"),
    ),
    run=run,
)
