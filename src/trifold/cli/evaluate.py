"""`trifold evaluate`: how well a model knows a text, or does its task."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from trifold.cli.console import say_read, warn_few, warn_unknown
from trifold.cli.experiment import DATA_OPTIONS, source_options
from trifold.cli.help import pad
from trifold.cli.option import Command, Option, Request
from trifold.cli.tuned import reading_of
from trifold.errors import DataError
from trifold.locale import message

__all__ = ["COMMAND", "labelled_records"]

HUGE = 1e7
"""A number from which on its size is all that it says."""


def run(request: Request) -> dict[str, Any]:
    """Measure and show."""
    from trifold.tasks.build import is_fine_tuned

    if is_fine_tuned(request.values.run):
        return _judge(request)
    from trifold.data import ReadReport
    from trifold.evaluation.language_model import evaluate_text

    values, told = request.values, ReadReport()
    score = evaluate_text(
        values.run,
        values.data,
        options=source_options(request),
        length=values.length,
        batch_size=values.batch_size,
        report=told,
    )
    say_read(told, request.console)
    for name, value in asdict(score).items():
        if value is not None:
            request.console.say(f"{pad(message(f'cli.score_{name}'), 28)} {_shown(value)}")
    warn_few(score.tokens, request.console)
    warn_unknown(score.unknown_tokens, request.console)
    return {**asdict(score), "account": told.to_json()}


def _shown(value: float | str) -> str:
    """A number with the digits that say something."""
    if isinstance(value, float):
        return f"{value:,.4f}" if value < HUGE else f"{value:.3e}"
    return f"{value:,}" if isinstance(value, int) else value


def _judge(request: Request) -> dict[str, Any]:
    """A fine-tuned model on labelled examples."""
    from trifold.cli.finetune import say_judgement
    from trifold.tasks import judge, load

    tuned = load(request.values.run)
    task = tuned.require()
    records, account = labelled_records(tuned, request.values.data, reading_of(request))
    for line in account.lines():
        request.console.note(line)
    if request.values.kb is not None:
        judgement = _judge_base(request, tuned, records)
    else:
        judgement = judge(task, records, tuned.predict(records))
    say_judgement(judgement, request.console)
    return {**judgement, "account": account.to_json()}


def _judge_base(request: Request, tuned: Any, records: list[Any]) -> dict[str, Any]:
    """Questions answered from a knowledge base instead of their own contexts."""
    from trifold.cli.index import embedder_in
    from trifold.retrieval import KnowledgeBase
    from trifold.tasks.knowledge import judge_knowledge

    tuned.require("span_qa")
    embedder = embedder_in(request.values.embedder)
    return judge_knowledge(KnowledgeBase(request.values.kb), tuned, records, embedder=embedder, k=request.values.k)


def labelled_records(tuned: Any, files: Sequence[str], reading: Any) -> tuple[list[Any], Any]:
    """The records of files, and what became of their columns and rows.

    Columns are those that were named, else those that the model was trained with where the file has them.

    Raises:
        DataError: a row is damaged and that is not forgiven, or no row can be used.
    """
    from trifold.data.reading import ReadReport, SourceOptions
    from trifold.data.rows import read_rows
    from trifold.tasks.account import Account, Count
    from trifold.tasks.record import make_records
    from trifold.tasks.trained_columns import place_as_trained

    account, records = Account(), []
    options = SourceOptions(on_error=reading.on_error, encoding=reading.encoding, tagged=tuned.task.config.tagged)
    for file in files:
        report, count = account.reports.setdefault(file, ReadReport()), account.splits.setdefault(file, Count())
        rows = list(read_rows(file, options, report))
        placed = place_as_trained(tuned.task, tuned.trained_columns, rows, reading.columns, account=account)
        records += make_records(placed, tuned.task.record, on_error=reading.on_error, count=count)
    if not records:
        reasons = "; ".join(filter(None, (count.reasons for count in account.splits.values()))) or "-"
        rows = sum(count.rows for count in account.splits.values())
        raise DataError("task.nothing_left", split=", ".join(files), count=rows, reasons=reasons)
    return records, account


COMMAND = Command(
    name="evaluate",
    options=(
        Option(name="run", positional=True, required=True),
        Option(name="data", many=True, required=True, help="option_data_evaluate"),
        Option(name="length", kind="integer", low=1),
        Option(name="batch-size", kind="integer", low=1, default=16),
        Option(name="kb", kind="folder", help="option_kb_judged"),
        Option(name="embedder", help="option_embedder"),
        Option(name="k", kind="integer", low=1, high=1000, default=5, help="option_k"),
        *DATA_OPTIONS,
    ),
    run=run,
    sections=("data",),
)
