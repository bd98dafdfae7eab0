"""`trifold report`: one page about runs."""

from pathlib import Path
from typing import Any

from trifold.cli.option import Command, Option, Request
from trifold.locale import message

__all__ = ["COMMAND", "page_of"]


def page_of(folder: Path) -> Any:
    """What a page shows of a run: its curve, what counting comes to, and what its model writes."""
    from trifold.evaluation.baselines import count_beside
    from trifold.evaluation.report import RunPage
    from trifold.evaluation.sample import run_samples

    counted = count_beside(folder)
    return RunPage(folder=folder, samples=run_samples(folder), baselines=counted.bits, verdict=counted.verdict)


def run(request: Request) -> dict[str, Any]:
    """Write a page for each fine-tuned run, in its folder, and one for the others: of several it is a page of their own."""
    from trifold.evaluation.report import write_report
    from trifold.tasks.build import is_fine_tuned
    from trifold.tasks.report import write_task_report

    runs = [Path(path) for path in request.values.runs]
    tuned = [path for path in runs if is_fine_tuned(path)]
    paths = [write_task_report(path) for path in tuned]
    pages = [page_of(path) for path in runs if path not in tuned]
    if pages:
        beside = pages[0].folder if len(pages) == 1 else pages[0].folder.parent / "report"
        out = Path(request.values.out) if request.values.out else beside
        out.mkdir(parents=True, exist_ok=True)
        paths.append(write_report(out, pages, title=message("cli.report_title")))
    for path in paths:
        request.console.say(str(path))
    baselines = {"baselines": {str(page.folder): dict(page.baselines) for page in pages}} if pages else {}
    return {"pages": list(map(str, paths)), **({"page": str(paths[-1])} if pages else {}), **baselines}


COMMAND = Command(
    name="report",
    options=(
        Option(name="runs", positional=True, many=True, required=True),
        Option(name="out", kind="folder", help="option_out_report"),
    ),
    run=run,
)
