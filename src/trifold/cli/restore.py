"""`trifold restore`: what an encoder-decoder puts in the place of sentinels."""

from dataclasses import asdict
from typing import Any

from trifold.cli.option import Command, Option, Request
from trifold.cli.tuned import INPUT, MASKED, given_rows, given_texts, text_of

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Show the restored texts."""
    from trifold.generation import Generator, Sampling, restore_spans

    values = request.values
    texts = [*given_texts(request, values.words), *given_texts(request, values.text)]
    rows = given_rows(request, texts)
    generator, restored = Generator.from_pretrained(values.run), []
    for row in rows:
        whole = restore_spans(generator, text_of(row), Sampling(temperature=0.0))
        request.console.say(whole.text)
        restored.append(asdict(whole))
    return restored[0] if len(restored) == len(texts) == 1 else {"texts": restored}


COMMAND = Command(
    name="restore",
    options=(
        Option(name="run", positional=True, required=True),
        MASKED,
        Option(name="text", many=True, help="option_corrupted"),
        *INPUT,
    ),
    run=run,
    sections=("data",),
)
