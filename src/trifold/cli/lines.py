"""One text in, one answer out: what `classify`, `translate`, `ask` and `generate` have in common."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trifold.cli.option import Request
from trifold.cli.tuned import given_rows, reading_of

__all__ = ["Answered", "answer_lines", "say_answer"]


@dataclass(frozen=True, slots=True)
class Answered:
    """One text with its answer.

    Attributes:
        values: the columns of its row.
        record: what the model read; None where the row has nothing to read.
        said: what the model said; None where it read nothing.
    """

    values: Any
    record: Any
    said: Any


def say_answer(request: Request, texts: Sequence[str], answer: str, *beside: str) -> None:
    r"""Show an answer and what stands beside it: each on a line of its own where the texts stand on the command line.

    Where a file or standard input gives them, all on one line, with line breaks written as `\n`: one line in, one line out.
    """
    fields = [answer, *(field for field in beside if field)]
    if request.values.input is None and texts and list(texts) != ["-"]:
        for field in fields:
            request.console.say(field)
    else:
        request.console.say("\t".join(fields).replace("\r", "").replace("\n", "\\n"))


def answer_lines(
    request: Request, tuned: Any, texts: Sequence[str], predict: Callable[[list[Any]], Sequence[Any]] | None = None
) -> Iterator[Answered]:
    """The answers to all texts, in order; a row without a text has none, and the reasons are said.

    Args:
        request: what the user asked.
        tuned: the model.
        texts: those of the command line.
        predict: another way to answer records than the task's own.
    """
    from trifold.tasks.account import Account, Count
    from trifold.tasks.record import make_records
    from trifold.tasks.trained_columns import place_as_trained

    reading, account, count = reading_of(request), Account(), Count()
    rows = given_rows(request, texts, keep_blank=True)
    placed = place_as_trained(tuned.task, tuned.trained_columns, rows, reading.columns, labelled=False, account=account)
    by_row = [make_records([row], tuned.task.question, on_error=reading.on_error, count=count) for row in placed]
    records = [record for some in by_row for record in some]
    if predict is None:
        tuned.input_check.look_at(records)
    if request.values.input is not None:
        account.splits[str(request.values.input)] = count
        for line in account.lines():
            request.console.note(line)
    said = iter((predict or (lambda inputs: tuned.task.predict(tuned.model, inputs)))(records))
    for row, some in zip(rows, by_row, strict=True):
        yield Answered(row.values, some[0], next(said)) if some else Answered(row.values, None, None)
