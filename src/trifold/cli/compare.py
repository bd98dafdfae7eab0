"""`trifold compare`: two fine-tuned models on the same examples, with a test of the difference."""

from typing import Any

from trifold.cli.option import READING, Command, Option, Request
from trifold.cli.tuned import row_options
from trifold.errors import UsageError
from trifold.locale import message

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Predict with both, then compare in pairs."""
    from trifold.cli.evaluate import labelled_records
    from trifold.tasks import compare, load_fine_tuned

    values, console = request.values, request.console
    one, other = load_fine_tuned(values.first), load_fine_tuned(values.second)
    kinds = [tuned.task.config.kind for tuned in (one, other)]
    if kinds[0] != kinds[1]:
        raise UsageError("cli.other_task", path=values.second, given=kinds[1], wanted=kinds[0])
    sides = []
    for tuned in (one, other):
        records = labelled_records(tuned, values.data, row_options(request))
        sides.append((records, tuned.task.predict(tuned.model, records)))
    found = compare(one.task, sides[0][0], sides[0][1], sides[1][1])
    for name, line in found["differences"].items():
        text = f"{line['first']:.4f} - {line['second']:.4f} = {line['value']:+.4f}"
        console.say(f"{name:<20} {text}  [{line['low']:+.4f}, {line['high']:+.4f}]  p = {line['p']:.4f}")
    if "mcnemar" in found:
        console.say(message("cli.mcnemar", **{**found["mcnemar"], "p": f"{found['mcnemar']['p']:.4g}"}))
    return found


COMMAND = Command(
    name="compare",
    options=(
        Option(name="first", positional=True, required=True, help="option_first"),
        Option(name="second", positional=True, required=True, help="option_second"),
        Option(name="data", kind="file", required=True, help="option_data_labelled"),
        *READING,
    ),
    run=run,
)
