"""`trifold bench`: Trifold beside what a person would use instead, in turns, on this machine."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.cli.option import Command, Option, Request
from trifold.locale import message

if TYPE_CHECKING:
    from trifold.benchmark import Work

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Run the benchmarks asked for; show each table when it is there."""
    from trifold.benchmark import NAMES, as_data, as_table, find_benchmark, measure, update_page

    values, console = request.values, request.console
    names = NAMES if values.benchmark == "all" else (values.benchmark,)
    benchmarks, work = [find_benchmark(name) for name in names], work_of(request)
    for benchmark in benchmarks:
        benchmark.check(work)
    found = []
    for benchmark in benchmarks:
        result = measure(
            benchmark, work, rounds=values.rounds,
            listen=lambda side, turn, name=benchmark.name: console.note(
                message("benchmark.turn", benchmark=name, round=turn, side=side)),
        )  # fmt: skip
        console.say(as_table(result) + "\n")
        found.append(as_data(result))
        if values.page is not None:
            update_page(Path(values.page), result, command=" ".join(["trifold", *sys.argv[1:]]))
            console.note(message("benchmark.page", path=values.page))
    return {"benchmarks": found}


def work_of(request: Request) -> "Work":
    """How much is to be done, and with what."""
    from trifold.benchmark import Work

    values = request.values
    given = {"nanogpt": values.nanogpt, "joeynmt": values.joeynmt}
    checkouts = {name: folder for name, folder in given.items() if folder is not None}
    return Work(smoke=values.smoke, threads=values.threads, device=values.device, checkouts=checkouts,
                data=values.folder or os.environ.get("TRIFOLD_DATA"))  # fmt: skip


COMMAND = Command(
    name="bench",
    options=(
        Option(name="benchmark", positional=True, default="all", help="option_benchmark"),
        Option(name="rounds", kind="integer", low=1, high=1000),
        Option(name="smoke", kind="flag", default=False),
        Option(name="threads", kind="integer", low=1, high=4096),
        Option(name="device", choices=("cpu", "cuda"), default="cpu", help="option_bench_device"),
        Option(name="folder", kind="folder", help="option_bench_folder"),
        Option(name="nanogpt", kind="folder"),
        Option(name="joeynmt", kind="folder"),
        Option(name="page", kind="file"),
    ),
    run=run,
)
