"""`trifold compare`: two fine-tuned models on the same examples, with a test of the difference."""

from typing import Any

from trifold.cli.option import READING, Command, Option, Request
from trifold.cli.tuned import reading_of
from trifold.errors import DataError, UsageError
from trifold.locale import message

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Predict with both, then compare in pairs."""
    from trifold.cli.evaluate import labelled_records
    from trifold.tasks import compare, load

    values, console = request.values, request.console
    first, second = load(values.first), load(values.second)
    kinds = [tuned.require().config.kind for tuned in (first, second)]
    if kinds[0] != kinds[1]:
        raise UsageError("cli.other_task", path=values.second, given=kinds[1], wanted=kinds[0])
    reading, sides = reading_of(request), []
    for tuned in (first, second):
        records, account = labelled_records(tuned, [values.data], reading)
        sides.append({record.origin: record for record in records})
        for line in account.lines():
            console.note(line)
    both = [origin for origin in sides[0] if origin in sides[1]]
    if not both:
        raise DataError("task.nothing_left", split=values.data, count=len(sides[0]), reasons="-")
    told = [[side[origin] for origin in both] for side in sides]
    said = [tuned.predict(records) for tuned, records in zip((first, second), told, strict=True)]
    comparison = {**compare(first.require(), told[0], *said), "account": account.to_json()}
    names = {"first": values.first, "second": values.second}
    console.say(message("cli.compared", **names, n=len(both)))
    for name, line in comparison["differences"].items():
        text = f"{line['first']:.4f} - {line['second']:.4f} = {line['value']:+.4f}"
        console.say(f"{name:<20} {text}  [{line['low']:+.4f}, {line['high']:+.4f}]  p = {line['p']:.4f}")
    if "mcnemar" in comparison:
        told = {**comparison["mcnemar"], "p": f"{comparison['mcnemar']['p']:.4g}"}
        console.say(message("cli.mcnemar", **names, **told))
    return comparison


COMMAND = Command(
    name="compare",
    options=(
        Option(name="first", positional=True, required=True, help="option_first"),
        Option(name="second", positional=True, required=True, help="option_second"),
        Option(name="data", kind="file", required=True, help="option_data_labelled"),
        *READING,
    ),
    run=run,
    sections=("data",),
)
