"""`report.html` and `report.md` of a fine-tuned model: the result beside its baselines, and what to think of it."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trifold.evaluation.chart import Chart, Curve, draw_chart
from trifold.evaluation.report import environment, html_page, html_table, predicted_beside_actual
from trifold.locale import catalogue, language, message
from trifold.native import cores
from trifold.training.description import read_description
from trifold.training.log import read_metrics

__all__ = ["baseline_name", "pictures", "result_table", "verdict_line", "write_task_report"]

LARGEST_CONFUSION = 20
WATTS_PER_CORE = 12.0
"""What a busy core of a laptop draws, roughly; energy is this times cores times seconds."""


def write_task_report(folder: Path) -> Path:
    """Write both pages of a run; give the path of the HTML page.

    Raises:
        ModelFileError: the folder holds no run.
    """
    known = read_description(folder)
    judgement, title = known["judgement"], f"{folder.name}: {known['judgement']['task']}"
    results, facts = result_table(judgement), _facts(known)
    parts = [f"<h1>{html.escape(title)}</h1>", html_table(results)]
    parts.append(f"<p>{html.escape(_note(judgement))}</p>")
    parts += pictures(folder, judgement)
    worst = "task.furthest" if any("distance" in example for example in judgement.get("worst", ())) else "task.worst"
    examples = {worst: _worst(judgement.get("worst")), "task.samples": _samples(judgement.get("samples"))}
    examples["task.silence"] = _silence(judgement)
    for key, rows in examples.items():
        parts += [_heading(key), html_table(rows)] if rows else []
    told = known.get("account", {}).get("lines", [])
    parts += [_heading("task.account"), *(f"<p>{html.escape(line)}</p>" for line in told)] if told else []
    parts += [_heading("task.facts"), html_table(facts)]
    (folder / "report.html").write_text(html_page(title, parts), encoding="utf-8")
    cost = message("task.facts")
    lines = [f"# {title}", "", *_markdown(results), "", _note(judgement), ""]
    for key, rows in examples.items():
        lines += [f"## {message(key)}", "", *_markdown(rows), ""] if rows else []
    plain = [html.escape(line, quote=False).replace("|", "\\|") for line in told]
    lines += [f"## {message('task.account')}", "", *(f"* {line}" for line in plain), ""] if told else []
    lines += [f"## {cost}", "", *_markdown(facts), "", environment(), ""]
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return folder / "report.html"


def _heading(key: str) -> str:
    return f"<h2>{html.escape(message(key))}</h2>"


def baseline_name(name: str) -> str:
    """What a baseline is called in the reader's language; its own name, where it has no other.

    Example:
        >>> baseline_name("untuned"), baseline_name("encoder")
        ('before fine-tuning', 'encoder')
    """
    return message(f"task.baseline_{name}") if f"baseline_{name}" in catalogue(language())["task"] else name


def verdict_line(judgement: Mapping[str, Any]) -> str:
    """The model beside the best of its baselines, in a sentence; empty where there are none."""
    verdict = judgement.get("verdict")
    if verdict is None:
        return ""
    by = {name: f"{verdict['difference'][name]:+.4f}" for name in ("value", "low", "high")}
    names = {"metric": verdict["metric"], "baseline": baseline_name(verdict["baseline"])}
    return message(f"cli.verdict_{verdict['told']}", **names, **by)


def result_table(judgement: Mapping[str, Any]) -> list[list[str]]:
    """One row a system, one column a metric.

    Example:
        >>> result_table({"metrics": {"f1": {"value": 0.5, "low": 0.4, "high": 0.6}}})[1][1]
        '0.5000 [0.4000, 0.6000]'
    """
    names = list(judgement["metrics"])
    baselines = {baseline_name(name): metrics for name, metrics in judgement.get("baselines", {}).items()}
    systems = {message("cli.this_model"): judgement["metrics"], **baselines}
    without = judgement.get("contamination", {}).get("without")
    systems |= {message("cli.without_known"): without} if without else {}
    return [["", *names], *([who, *(_cell(metrics.get(name)) for name in names)] for who, metrics in systems.items())]


def _cell(one: Mapping[str, float] | None) -> str:
    return "-" if one is None else f"{one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]"


def _note(judgement: Mapping[str, Any]) -> str:
    parts = [message("cli.judged", n=judgement["n"], split=judgement.get("split", "-")).rstrip(":：") + "."]
    parts += filter(None, [verdict_line(judgement)])
    if judgement.get("split") == "dev":
        parts.append(message("cli.judged_on_dev"))
    if "contamination" in judgement:
        known = judgement["contamination"]
        parts.append(message("cli.contamination", exact=known["exact"], near=known["near"]))
    if "calibration" in judgement:
        calibration = judgement["calibration"]
        error = f"{calibration['expected_calibration_error']:.4f}"
        parts.append(message("cli.calibration", error=error, temperature=calibration["temperature"]))
    return " ".join([*parts, *judgement.get("signatures", {}).values(), *_silence_told(judgement)])


def pictures(folder: Path, judgement: Mapping[str, Any]) -> list[str]:
    """Curves of a run, and which labels it takes for which, as HTML."""
    return _charts(folder, judgement) + _confusion(judgement)


def _charts(folder: Path, judgement: Mapping[str, Any]) -> list[str]:
    charts = _run_charts(folder)
    bins = judgement.get("calibration", {}).get("bins", [])
    if bins:
        measured = [(100 * one["confidence"], 100 * one["accuracy"]) for one in bins]
        ideal = [(100 * one["confidence"], 100 * one["confidence"]) for one in bins]
        curves = [Curve(message("task.reliability"), measured), Curve(message("task.ideal"), ideal)]
        charts.append(_chart("task.reliability_chart", "task.axis_confidence", "task.axis_accuracy", curves))
    if "risk_coverage" in judgement:
        risk = [(100 * covered, 100 * wrong) for covered, wrong in judgement["risk_coverage"]["curve"]]
        curve = Curve(message("task.axis_risk"), risk)
        charts.append(_chart("task.risk_chart", "task.axis_coverage", "task.axis_risk", [curve]))
    return [draw_chart(chart) for chart in charts]


def _run_charts(folder: Path) -> list[Chart]:
    """Loss and metric as the run went."""
    records = read_metrics(folder)
    columns = {
        name: [(one["step"], one[name]) for one in records if name in one]
        for name in ("loss", "valid_loss", "valid_metric")
    }
    loss = [
        Curve(message("evaluation.training"), columns["loss"]),
        Curve(message("evaluation.held_out"), columns["valid_loss"]),
    ]
    metric = [Curve(message("task.dev_metric"), columns["valid_metric"])]
    return [
        _chart("evaluation.loss_chart", "task.axis_step", "task.axis_loss", loss),
        _chart("task.dev_metric", "task.axis_step", "task.dev_metric", metric),
    ]


def _chart(title: str, x: str, y: str, curves: Sequence[Curve]) -> Chart:
    return Chart(title=message(title), x=message(x), y=message(y), curves=curves)


def _confusion(judgement: Mapping[str, Any]) -> list[str]:
    labels = judgement.get("labels", [])
    if not 2 <= len(labels) <= LARGEST_CONFUSION or "confusion" not in judgement:
        return []
    head = "".join(f"<th>{html.escape(name)}</th>" for name in (message("task.gold_and_said"), *labels))
    body = ""
    for label, row in zip(labels, judgement["confusion"], strict=True):
        cells = [_shaded(count, sum(row), right=label == said) for said, count in zip(labels, row, strict=True)]
        body += f"<tr><td>{html.escape(label)}</td>{''.join(cells)}</tr>"
    return [_heading("task.confusion"), f"<table><tr>{head}</tr>{body}</table>"]


def _shaded(count: int, of: int, *, right: bool) -> str:
    """A cell as dark as its share of the row: blue where the label is right, red where it is not."""
    color, share = ("37,99,235" if right else "220,38,38"), count / max(of, 1)
    return f'<td style="background:rgba({color},{0.6 * share:.2f})">{count}</td>'


def _worst(errors: Sequence[Mapping[str, Any]] | None) -> list[list[str]]:
    last = "distance" if any("distance" in one for one in errors or ()) else "confidence"
    rows = [
        [" ¦ ".join(one["inputs"]), str(one["gold"]), str(one["answer"]), f"{one[last]:.3f}"] for one in errors or ()
    ]
    return [_columns("input", "gold", "answer", last), *rows] if rows else []


def _silence(judgement: Mapping[str, Any]) -> list[list[str]]:
    """Risk of wrong answers for shares of questions answered from a base, at about ten of them."""
    trial = judgement.get("knowledge_base")
    curve = trial["risk_coverage"]["curve"] if trial else []
    rows = [[f"{covered:.0%}", f"{risk:.0%}"] for covered, risk in curve[:: max(1, len(curve) // 10)]]
    return [_columns("coverage", "risk"), *rows] if rows else []


def _silence_told(judgement: Mapping[str, Any]) -> list[str]:
    """What the trial over a base came to, in a sentence."""
    trial = judgement.get("knowledge_base")
    if not trial:
        return []
    shares = ("answered", "risk", "silent_where_held", "silent_where_not_held")
    facts = {name: "-" if trial[name] is None else f"{trial[name]:.0%}" for name in shares}
    scores = {name: f"{trial[name]:.4f}" for name in ("f1", "f1_never_silent", "threshold")}
    area = f"{trial['risk_coverage']['area']:.4f}"
    return [message("task.silence_told", n=trial["n"], held=trial["held"], area=area, **facts, **scores)]


def _samples(samples: Sequence[Mapping[str, str]] | None) -> list[list[str]]:
    rows = [[one["input"], one["gold"], one["answer"]] for one in samples or ()]
    return [_columns("input", "gold", "answer"), *rows] if rows else []


def _columns(*names: str) -> list[str]:
    return [message(f"task.column_{name}") for name in names]


def _facts(known: Mapping[str, Any]) -> list[list[str]]:
    result, files = known["result"], known["data"]
    rows = [[message("evaluation.column_fact"), message("evaluation.column_value")]]
    rows += [[name, f"{Path(one['file']).name}, sha256 {one['sha256'][:16]}"] for name, one in files.items()]
    count = cores()
    energy = result["seconds"] * count * WATTS_PER_CORE / 3600
    rows += [
        [message("task.parameters"), f"{result['num_parameters']:,} ({result['trained_parameters']:,})"],
        [message("task.steps"), f"{result['steps']:,}"],
        [message("task.time"), f"{result['seconds'] / 60:.1f} min"],
        [message("task.operations"), f"{result['flops']:.3g}"],
        [message("task.energy", watts=WATTS_PER_CORE, cores=count), f"{energy:.2f} Wh"],
        [message("task.seed"), str(known["experiment"]["training"]["seed"])],
    ]
    return rows + predicted_beside_actual(known.get("forecast"), result)


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [
        [html.escape(" ".join(cell.split()), quote=False).replace("|", "\\|") for cell in row] for row in rows
    ]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in body)]
