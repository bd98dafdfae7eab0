"""The page of the demo: three families beside counting, five applications beside their baselines, and what comes next."""

import html
from collections.abc import Sequence
from pathlib import Path

from trifold.cli.demo_steps import NEXT, Judged, Sample, Trained
from trifold.evaluation.report import RunPage, html_table, write_report
from trifold.evaluation.sample import Sample as RunSample
from trifold.locale import message
from trifold.tasks.report import pictures, result_table, verdict_line

__all__ = ["write_page"]


def write_page(out: Path, trained: Sequence[Trained], judged: Sequence[Judged]) -> Path:
    """Write the report of all runs; give its path."""
    extra = [part for each in judged for part in _application(each)]
    runs = [
        RunPage(
            folder=each.folder,
            samples=[RunSample(f"{sample.given}\n", sample.made) for sample in each.samples],
            baselines=each.result["baselines"],
            verdict=each.result["verdict"],
        )
        for each in trained
    ]
    return write_report(out, runs, title=message("cli.demo_title"), extra=[*extra, *_next()])


def _application(judged: Judged) -> list[str]:
    """One application: its figures, the verdict, pictures, and what it made of texts that it had not seen."""
    name = message(f"cli.application_{judged.application.name}")
    return [
        f"<h2>{html.escape(name)}</h2>",
        html_table(result_table(judged.judgement)),
        f"<p>{html.escape(verdict_line(judged.judgement))}</p>",
        *map(_sample, judged.samples),
        *pictures(judged.folder, judged.judgement),
        f'<p><a href="{judged.application.name}/report.html">{html.escape(message("cli.more_about", name=name))}</a></p>',
    ]


def _sample(sample: Sample) -> str:
    """What was given and what came out; an answer marked where it stands."""
    shown = html.escape(sample.made)
    if sample.passage:
        before, answer, after = (
            html.escape(text)
            for text in (
                sample.passage[: sample.start],
                sample.passage[sample.start : sample.end],
                sample.passage[sample.end :],
            )
        )
        shown += f"\n\n<small>{before}<mark>{answer}</mark>{after}</small>"
    return f'<pre><b class="given">{html.escape(sample.given)}</b>\n{shown}</pre>'


def _next() -> list[str]:
    """What to try on text of one's own."""
    commands = "\n".join(NEXT)
    return [f"<h2>{html.escape(message('cli.demo_next'))}</h2>", f"<pre>{html.escape(commands)}</pre>"]
