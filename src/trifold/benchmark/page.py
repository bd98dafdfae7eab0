"""A result as a table for people and as data for programs."""

import importlib.util
import os
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from trifold.benchmark.turns import Result, Spread
from trifold.evaluation.chart import Chart, Curve, write_chart
from trifold.locale import message

__all__ = ["as_data", "as_table", "update_page"]

MARK = "<!-- benchmark {name} -->"
"""Stands before and after a benchmark's part of a page."""


def as_table(result: Result) -> str:
    """A Markdown table, a line for each side.

    Example:
        >>> from trifold.benchmark.work import Benchmark, Measured, Side, Work
        >>> sides = tuple(Side(name=name, run=lambda work: Measured(amount=1, seconds=1)) for name in ("a", "b"))
        >>> turns = {"a": [Measured(amount=30, seconds=1)], "b": [Measured(amount=10, seconds=1)]}
        >>> work = Benchmark(name="x", title="Some work", unit="tokens", sides=sides)
        >>> print(as_table(Result(work, turns, [], {})).splitlines()[-1])
        | b | 10.0 | **3.00** | | 0.00 GiB | | | |
    """
    benchmark = result.benchmark
    head = message("benchmark.head", unit=benchmark.unit, quality=benchmark.quality or "-").split("|")
    lines = [f"### {benchmark.name}: {benchmark.title}", "", _row(head), "|" + "---|" * len(head)]
    for side in benchmark.sides:
        if side.name in result.problems:
            lines.append(_row([side.name, result.problems[side.name], *[""] * (len(head) - 2)]))
            continue
        ours = side is benchmark.sides[0]
        found = None if ours else result.ratio(side.name)
        ratio = "" if found is None else _spread(found, bold=True)
        bar = "" if side.bar is None else f">= {side.bar:g}"
        share, quality = result.share(side.name), result.quality(side.name)
        lines.append(_row([
            side.name, _spread(result.rate(side.name)), ratio, bar, f"{result.memory(side.name) / 2**30:.2f} GiB",
            "" if share is None else f"{share.median:.0%}".replace("%", " %"),
            "" if quality is None else f"{quality.median:.4g}", result.turns[side.name][0].note,
        ]))  # fmt: skip
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _spread(found: Spread, *, bold: bool = False) -> str:
    def show(value: float) -> str:
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if not bold and value < 10 else f"{value:.1f}"

    def ratio(value: float) -> str:
        return f"{value:.2f}"

    one = ratio if bold else show
    middle = f"**{one(found.median)}**" if bold else one(found.median)
    return middle if found.low == found.high else f"{middle} [{one(found.low)}, {one(found.high)}]"


def as_data(result: Result) -> dict[str, Any]:
    """The same as JSON data, with every turn."""
    from dataclasses import asdict

    sides = {}
    for side in result.benchmark.sides:
        if side.name in result.problems:
            sides[side.name] = {"problem": result.problems[side.name]}
            continue
        share, ratio = result.share(side.name), result.ratio(side.name)
        sides[side.name] = {
            "rate": asdict(result.rate(side.name)),
            "ratio": None if ratio is None else asdict(ratio),
            "bar": side.bar,
            "memory": result.memory(side.name),
            "share_of_limit": None if share is None else asdict(share),
            "turns": [asdict(turn) for turn in result.turns[side.name]],
        }
    return {"name": result.benchmark.name, "title": result.benchmark.title, "unit": result.benchmark.unit,
            "limits": [asdict(limit) for limit in result.limits], "sides": sides}  # fmt: skip


def update_page(path: Path, result: Result, *, command: str) -> None:
    """Write a result into a Markdown page, in place of an earlier one of the same benchmark or at the end.

    Args:
        path: of the page; a page that is not there begins.
        result: what came of the benchmark.
        command: that measured it.
    """
    mark = MARK.format(name=result.benchmark.name)
    units = {"float32": "GFLOP/s", "bfloat16": "GFLOP/s", "read": "GB/s"} if result.limits else {}
    limits = [f"{name} {Spread.of([getattr(limit, name) for limit in result.limits]).median / 1e9:,.0f} {unit}"
              for name, unit in units.items()]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)  # minutes of measuring must not be lost for want of a folder
    pictures = _draw(result, path.parent / path.stem)
    told = f"`{command}`; {describe_machine()}; {', '.join(limits)}."
    part = "\n\n".join([mark, as_table(result), *pictures, told, mark])
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    earlier = re.compile(f"{re.escape(mark)}.*?{re.escape(mark)}", re.DOTALL)
    text = earlier.sub(lambda _: part, text) if earlier.search(text) else f"{text.rstrip()}\n\n{part}\n".lstrip()
    path.write_text(text, encoding="utf-8")


def _draw(result: Result, folder: Path) -> list[str]:
    """Pictures of what grows, as files beside the page; their Markdown."""
    if not result.benchmark.axis:
        return []
    folder.mkdir(exist_ok=True)
    sides = [side for side in result.benchmark.sides if side.name in result.turns]
    unit = result.benchmark.unit
    figures = {"rate": (f"{unit}/s", [result.rate(side.name).median for side in sides]),
               "memory": ("GiB", [result.memory(side.name) / 2**30 for side in sides])}  # fmt: skip
    lines = []
    for kind, (title, values) in figures.items():
        points = [(side.size, value) for side, value in zip(sides, values, strict=True)]
        name = f"{result.benchmark.name}-{kind}.svg"
        said = f"{result.benchmark.name}: {title}"
        chart = Chart(title=said, x=result.benchmark.axis, y=title, curves=[Curve(title, points)], floor=0.0)
        write_chart(chart, folder / name)
        lines.append(f"![{title} by {result.benchmark.axis}]({folder.name}/{name})")
    return [" ".join(lines)]


def describe_machine() -> str:
    """Processor, cores, versions and date, in one line.

    Example:
        >>> "Python" in describe_machine()
        True
    """
    names = ("torch", "transformers", "onnxruntime", "ctranslate2", "datasets")
    versions = [f"{name} {metadata.version(name)}" for name in names if importlib.util.find_spec(name)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    today = datetime.now(tz=UTC).date().isoformat()
    return ", ".join([f"{_processor()}, {cores} cores", f"Python {platform.python_version()}", *versions, today])


def _processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
