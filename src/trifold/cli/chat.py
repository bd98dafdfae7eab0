"""`trifold chat`: talk with a model, on a terminal or through pipes."""

import sys
from collections.abc import Iterator
from typing import Any

from trifold.cli.console import Console
from trifold.cli.option import Command, Option, Request
from trifold.cli.sampling import SAMPLING, sampling_of
from trifold.cli.tuned import PRECISION
from trifold.errors import DataError
from trifold.locale import message

__all__ = ["COMMAND"]

RESET, QUIT = "/reset", "/quit"


def run(request: Request) -> dict[str, Any]:
    """One answer for each line, until there are no more."""
    from trifold.native import keep_memory
    from trifold.tasks.talk import Talk, open_chat_model

    values, console = request.values, request.console
    keep_memory()
    model, task = open_chat_model(values.run, precision=values.precision)
    talk = Talk(model, task, values.system or "")
    sampling = sampling_of(request, talk.rules, beams=1)  # an answer that is shown as it comes cannot be searched for
    terminal = sys.stdin.isatty()
    if terminal and not console.as_json:
        console.note(message("cli.chat_how", reset=RESET, quit=QUIT))
    for line in _lines(terminal=terminal):
        if line.strip() == QUIT:
            break
        if line.strip() == RESET:
            talk.reset()
            console.note(message("cli.chat_reset"))
        elif line.strip():
            _answer(talk, line, sampling, console)
        elif not terminal:
            console.say()
            console.result_line({"user": line, "assistant": ""})
    return {}


def _lines(*, terminal: bool) -> Iterator[str]:
    """What is typed, or the lines of standard input."""
    if not terminal:
        yield from (_decoded(line, number) for number, line in enumerate(iter(sys.stdin.buffer.readline, b""), 1))
        return
    while True:
        try:
            yield input("> ")
        except EOFError:
            return


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            "data.bad_record", path="-", line=number, column=error.start + 1, problem=error.reason
        ) from None


def _answer(talk: Any, line: str, sampling: Any, console: Console) -> None:
    """Show the answer to a line as it comes."""
    pieces = []
    for piece in talk.say(line, sampling):
        pieces.append(piece)
        console.say(piece, end="")
    console.say()
    if talk.dropped:
        console.note(message("cli.chat_dropped", count=talk.dropped))
    if talk.cut:
        console.note(message("cli.chat_cut"))
    console.result_line({"user": line, "assistant": "".join(pieces).strip(), "dropped": talk.dropped, "cut": talk.cut})


COMMAND = Command(
    name="chat",
    options=(
        Option(name="run", positional=True, required=True, help="option_chat_model"),
        Option(name="system"),
        *SAMPLING,
        PRECISION,
    ),
    run=run,
)
