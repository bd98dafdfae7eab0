"""One page about one or more runs: curves, samples, held-out bits per byte beside baselines, sizes, time.

The page is a single file: pictures are drawn inside it, nothing is fetched, and text from models and data is escaped.
"""

import html
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trifold.evaluation.chart import Chart, Curve, draw_chart
from trifold.evaluation.sample import Sample
from trifold.locale import language, message
from trifold.training.description import read_description
from trifold.training.log import read_metrics

__all__ = [
    "RunPage",
    "counted_line",
    "environment",
    "html_page",
    "html_table",
    "loss_chart",
    "predicted_beside_actual",
    "write_report",
]

STYLE = (
    "body{font:16px/1.5 system-ui,'Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif;max-width:62rem;"
    "margin:2rem auto;padding:0 1rem;color:#1f2937}h1,h2{line-height:1.2}table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.3rem .8rem;border-bottom:1px solid #e5e7eb;text-align:right}td:first-child,th:first-child"
    "{text-align:left}pre{background:#f3f4f6;padding:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}"
    "b.given{color:#2563eb}svg{max-width:100%;height:auto;display:block}"
    "svg text{font-family:inherit!important}small{color:#6b7280}"
)


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run as the page shows it.

    Attributes:
        folder: the run.
        samples: what it was given and what it wrote.
        baselines: bits per byte of other models on the same held-out text, by name.
        verdict: the run's model beside the best of them (`trifold.evaluation.baselines`).
    """

    folder: Path
    samples: Sequence[Sample] = ()
    baselines: Mapping[str, float] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None


def counted_line(bits: float, baselines: Mapping[str, float], verdict: Mapping[str, Any] | None) -> str:
    """A run's bits per byte beside the best of its baselines, in a sentence; with an interval, where there is one.

    Example:
        >>> counted_line(1.5, {"unigram": 3.0, "5-gram": 2.0}, None)[:60]
        'On held-out text 1.500 bits per byte: better than a 5-gram m'
    """
    name = min(baselines, key=lambda known: baselines[known])
    told, between = "better" if bits < baselines[name] else "worse", ""
    if verdict is not None:
        told, difference = verdict["told"], verdict["difference"]
        ends = {end: f"{difference[end]:+.3f}" for end in ("value", "low", "high")}
        between = message("evaluation.between", n=difference["n"], **ends)
    return message(
        f"cli.counted_{told}", bits=f"{bits:.3f}", name=name, other=f"{baselines[name]:.3f}", between=between
    )


def write_report(folder: Path, runs: Sequence[RunPage], *, title: str, extra: Sequence[str] = ()) -> Path:
    """Write `report.html` and `report.md` in `folder`; give the path of the page. `extra` is HTML for its end.

    Raises:
        ModelFileError: a run has no `trifold.json`.
    """
    facts = [(run, read_description(run.folder)) for run in runs]
    table = _table(facts)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        html_table(table),
        f"<small>{html.escape(message('evaluation.note'))}</small>",
    ]
    for run, known in facts:
        parts += _section(run, known)
    (folder / "report.html").write_text(html_page(title, [*parts, *extra]), encoding="utf-8")
    (folder / "report.md").write_text(_markdown(title, table, facts), encoding="utf-8")
    return folder / "report.html"


def html_page(title: str, parts: Sequence[str]) -> str:
    """A whole page of parts that are HTML already, with the environment at its end; nothing is fetched from elsewhere.

    Example:
        >>> "<p>hello</p>" in html_page("A & B", ["<p>hello</p>"])
        True
    """
    body = "".join([*parts, f"<p><small>{html.escape(environment())}</small></p>"])
    return (
        f'<!doctype html><html lang="{language()}"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><body>{body}</body></html>\n'
    )


def environment() -> str:
    """Versions and machine, in a line."""
    import torch

    return f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, {platform.system()}"


def _table(facts: Sequence[tuple[RunPage, dict[str, Any]]]) -> list[list[str]]:
    """The overview: a line for each run, one for each baseline that differs."""
    names = sorted({name for run, _ in facts for name in run.baselines})
    header = [message(f"evaluation.column_{name}") for name in ("run", "objective", "parameters", "tokens", "minutes")]
    rows = [[*header, message("evaluation.column_bits"), *names]]
    for run, known in facts:
        result, experiment = known.get("result") or {}, known["experiment"]
        valid = result.get("valid") or {}
        rows.append(
            [
                run.folder.name,
                message(f"evaluation.objective_{experiment['objective']['kind']}"),
                f"{result.get('num_parameters', 0):,}",
                f"{result.get('tokens', 0):,}",
                f"{result.get('seconds', 0) / 60:.1f}",
                _number(valid.get("bits_per_byte")),
                *(_number(run.baselines.get(name)) for name in names),
            ]
        )
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head; all text is escaped.

    Example:
        >>> html_table([["a"], ["<b>"]])
        '<table><tr><th>a</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """
    head, *body = rows
    cells = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    cells += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return "<table>" + "".join(cells) + "</table>"


def _section(run: RunPage, known: Mapping[str, Any]) -> list[str]:
    parts = [f"<h2>{html.escape(run.folder.name)}</h2>"]
    parts.append(draw_chart(loss_chart(run.folder, run.baselines)))
    bits = ((known.get("result") or {}).get("valid") or {}).get("bits_per_byte")
    if run.baselines and bits is not None:
        parts.append(f"<p>{html.escape(counted_line(bits, run.baselines, run.verdict))}</p>")
    if run.samples:
        heading = message("evaluation.samples")
        parts.append(f"<h3>{html.escape(heading)}</h3>")
    parts += [f'<pre><b class="given">{html.escape(one.given)}</b>{html.escape(one.made)}</pre>' for one in run.samples]
    rows = [[message("evaluation.column_fact"), message("evaluation.column_value")]]
    rows += [
        [
            _store_name(name),
            f"{store['documents']:,} / {store['tokens']:,} / {store['bytes']:,} B, sha256 {store['sha256'][:16]}",
        ]
        for name, store in (known.get("data") or {}).items()
    ]
    rows += predicted_beside_actual(known.get("forecast"), known.get("result") or {})
    parts.append(html_table(rows))
    return parts


def predicted_beside_actual(forecast: Mapping[str, Any] | None, result: Mapping[str, Any]) -> list[list[str]]:
    """Rows of what a run was expected to take and what it took; none where it was not timed before, or did not end.

    Args:
        forecast: as the run's description has it; None where there is none.
        result: likewise.

    Example:
        >>> forecast = {"seconds": 60.0, "seconds_now": 90.0, "tokens_per_second": 2000.0, "best_step": 500}
        >>> predicted_beside_actual(forecast, {"seconds": 66.0, "tokens": 120000, "best_step": 400})[0]
        ['time, predicted / actual', '60.0 s (90.0 s as busy as the machine was) / 66.0 s']
        >>> predicted_beside_actual(None, {})
        []
    """
    if not forecast or forecast["seconds"] is None or not result or not result["seconds"]:
        return []
    time, now = f"{forecast['seconds']:,.1f} s", f"{forecast['seconds_now']:,.1f} s"
    told = time if time == now else message("evaluation.as_busy", free=time, now=now)
    pairs = {
        "evaluation.predicted_speed": (forecast["tokens_per_second"], result.get("tokens", 0) / result["seconds"]),
        "evaluation.predicted_examples": (forecast.get("examples_per_second"), _examples_per_second(forecast, result)),
        "evaluation.predicted_best": (forecast["best_step"], result.get("best_step")),
    }
    both = {name: pair for name, pair in pairs.items() if None not in pair}
    return [
        [message("evaluation.predicted"), f"{told} / {result['seconds']:,.1f} s"],
        *([message(name), f"{before:,.0f} / {came:,.0f}"] for name, (before, came) in both.items()),
    ]


def _examples_per_second(forecast: Mapping[str, Any], result: Mapping[str, Any]) -> float | None:
    """How many examples a fine-tuning read in a second; None of a pre-training."""
    predicted = forecast.get("examples_per_second")
    return predicted and predicted * forecast["step_seconds"] * result["steps"] / result["seconds"]


def _store_name(name: str) -> str:
    """What a token store holds: `train_0` is the first of those that are trained on."""
    split, _, number = name.partition("_")
    return " ".join(filter(None, (message(f"evaluation.store_{split}"), "" if number in ("", "0") else number)))


def loss_chart(folder: Path, baselines: Mapping[str, float] | None = None) -> Chart:
    """The loss of a run on its training and held-out text, over the tokens that it has seen.

    Args:
        folder: the run.
        baselines: bits per byte of other models on the held-out text, of which the best is drawn as a line.
    """
    records = read_metrics(folder)
    curves = [
        Curve(message("evaluation.training"), _smooth([(r["tokens"], r["loss"]) for r in records if "loss" in r])),
        Curve(message("evaluation.held_out"), [(r["tokens"], r["valid_loss"]) for r in records if "valid_loss" in r]),
    ]
    result = read_description(folder).get("result") or {}
    best = result.get("best_step")
    kept = [(r["tokens"], r["valid_loss"]) for r in records if "valid_loss" in r and r["step"] == best]
    curves.append(Curve(message("evaluation.kept", step=best), kept))
    curves += _counting_line(result, baselines or {}, [r["tokens"] for r in records])
    title = f"{folder.name}: {message('evaluation.loss_chart')}"
    return Chart(title=title, x=message("evaluation.axis_tokens"), y=message("evaluation.axis_loss"), curves=curves)


def _counting_line(result: Mapping[str, Any], baselines: Mapping[str, float], places: Sequence[float]) -> list[Curve]:
    """The best of the baselines as a level line, in nats per token of the same text."""
    valid = result.get("valid") or {}
    if not (baselines and places and valid.get("bits_per_byte")):
        return []
    name = min(baselines, key=lambda known: baselines[known])
    level = baselines[name] * valid["loss"] / valid["bits_per_byte"]
    return [Curve(message("evaluation.baseline", name=name), [(min(places), level), (max(places), level)])]


def _smooth(points: list[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of a stretch."""
    size = max(1, -(-len(points) // most))
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def _markdown(title: str, table: Sequence[Sequence[str]], facts: Sequence[tuple[RunPage, dict[str, Any]]]) -> str:
    head, *body = table
    lines = [f"# {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    lines += ["", message("evaluation.note"), ""]
    for run, _ in facts:
        for sample in run.samples:
            lines += [
                f"## {run.folder.name}",
                "",
                "```",
                f"{sample.given}{sample.made}".replace("```", "'''"),
                "```",
                "",
            ]
    return "\n".join([*lines, environment(), ""])
