"""`trifold evaluate`: how well a model knows a text."""

from dataclasses import asdict
from typing import Any

from trifold.cli.experiment import DATA_OPTIONS, source_options
from trifold.cli.option import Command, Option, Request
from trifold.locale import message

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Measure and show."""
    from trifold.evaluation.language_model import evaluate_text

    values = request.values
    score = evaluate_text(
        values.run, values.data, options=source_options(request), length=values.length, batch_size=values.batch_size
    )
    for name, value in asdict(score).items():
        if value is not None:
            shown = f"{value:,.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
            request.console.say(f"{message(f'cli.score_{name}'):<28} {shown}")
    return asdict(score)


COMMAND = Command(
    name="evaluate",
    options=(
        Option(name="run", positional=True, required=True),
        Option(name="data", many=True, required=True, help="option_data_evaluate"),
        Option(name="length", kind="integer", low=1),
        Option(name="batch-size", kind="integer", low=1, default=16),
        *DATA_OPTIONS,
    ),
    run=run,
)
