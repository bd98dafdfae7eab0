"""`trifold report`: one page about runs."""

from pathlib import Path
from typing import Any

from trifold.cli.option import Command, Option, Request
from trifold.locale import message

__all__ = ["COMMAND"]


def run(request: Request) -> dict[str, Any]:
    """Write the page."""
    from trifold.evaluation.baselines import run_baselines
    from trifold.evaluation.report import RunPage, write_report
    from trifold.tasks.build import is_fine_tuned
    from trifold.tasks.report import write_task_report

    runs = [Path(path) for path in request.values.runs]
    if all(is_fine_tuned(path) for path in runs):
        paths = [write_task_report(path) for path in runs]
        for path in paths:
            request.console.say(str(path))
        return {"pages": list(map(str, paths))}
    pages = [RunPage(folder=path, baselines=run_baselines(path)) for path in runs]
    out = Path(request.values.out) if request.values.out else runs[0]
    out.mkdir(parents=True, exist_ok=True)
    page = write_report(out, pages, title=message("cli.report_title"))
    request.console.say(str(page))
    return {"page": str(page), "baselines": {str(run_page.folder): dict(run_page.baselines) for run_page in pages}}


COMMAND = Command(
    name="report",
    options=(
        Option(name="runs", positional=True, many=True, required=True),
        Option(name="out", kind="folder", help="option_out_report"),
    ),
    run=run,
)
