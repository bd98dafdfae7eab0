"""A result as a table for people and as data for programs."""

import importlib.util
import os
import platform
import re
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.turns import Result, Spread
from benchmarks.words import say, title
from benchmarks.work import Side
from trifold.evaluation.chart import Chart, Curve, write_chart

__all__ = ["as_data", "as_table", "update_page"]

MARK, SUMMARY = "<!-- benchmark {name} -->", "<!-- summary -->"
"""Stand before and after a benchmark's part of a page, and the table of what is how much faster than what."""


def as_table(result: Result, language: str) -> str:
    """A Markdown table, a line for each side; columns that nobody fills are left out.

    Example:
        >>> from benchmarks.work import Benchmark, Measured, Work
        >>> sides = tuple(Side(name=name, run=lambda work: Measured(amount=1, seconds=1)) for name in ("a", "b"))
        >>> turns = {"a": [Measured(amount=30, seconds=1)], "b": [Measured(amount=10, seconds=1)]}
        >>> work = Benchmark(name="x", title="Some work", title_zh="某项工作", unit="tokens", sides=sides)
        >>> print(as_table(Result(work, turns, [], {}), "en"))
        ### x
        <BLANKLINE>
        Some work.
        <BLANKLINE>
        | side | tokens/s | Trifold / side | peak memory |
        |---|---|---|---|
        | a | 30.0 | | 0.00 GiB |
        | b | 10.0 | **3.00** | 0.00 GiB |
    """
    benchmark = result.benchmark
    rows = [_cells(result, side) for side in benchmark.sides]
    quality = benchmark.quality or "setting"
    head = {
        "side": "side",
        "rate": f"{benchmark.unit}/s",
        "ratio": "Trifold / side",
        "memory": "peak memory",
        "share": "of the machine's limit",
        "quality": quality,
        "setting": "setting",
    }
    filled = [column for column in head if any(row.get(column) for row in rows)]
    lines = [f"### {benchmark.name}", "", title(benchmark, language), ""]
    lines += [_row([say(head[column], language) for column in filled]), "|" + "---|" * len(filled)]
    return "\n".join([*lines, *(_row([row.get(column, "") for column in filled]) for row in rows)])


def _cells(result: Result, side: Side) -> dict[str, str]:
    """The cells of a side, by column."""
    if side.name in result.problems:
        return {"side": side.name, "rate": result.problems[side.name]}
    cells = {"side": side.name, "rate": _spread(result.rate(side.name)), "setting": result.turns[side.name][0].note}
    cells["memory"] = f"{_gib(result, side.name):.2f} GiB"
    ratio, share, quality = result.ratio(side.name), result.share(side.name), result.quality(side.name)
    if ratio is not None and side is not result.benchmark.sides[0] and not result.benchmark.axis:
        cells["ratio"] = _spread(ratio, bold=True)
    if share is not None:
        cells["share"] = f"{share.median:.0%}".replace("%", " %")
    if quality is not None:
        cells["quality"] = f"{quality.median:.4g}"
    return cells


def _gib(result: Result, side: str) -> float:
    return result.memory(side) / 2**30


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
    return {
        "name": result.benchmark.name,
        "title": result.benchmark.title,
        "unit": result.benchmark.unit,
        "limits": [asdict(limit) for limit in result.limits],
        "sides": sides,
    }


def update_page(path: Path, result: Result, *, command: str, language: str = "en") -> None:
    """Write a result into a Markdown page, in place of an earlier one of the same benchmark or at the end.

    Args:
        path: of the page; a page that is not there begins.
        result: what came of the benchmark.
        command: that measured it.
        language: of the page, `en` or `zh`.
    """
    mark = MARK.format(name=result.benchmark.name)
    units = {"float32": "GFLOP/s", "bfloat16": "GFLOP/s", "read": "GB/s"} if result.limits else {}
    limits = [
        f"{name} {Spread.of([getattr(limit, name) for limit in result.limits]).median / 1e9:,.0f} {unit}"
        for name, unit in units.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)  # minutes of measuring must not be lost for want of a folder
    pictures = _draw(result, path.parent / path.stem, language)
    told = f"`{command}`; {'; '.join([describe_machine(), *([', '.join(limits)] if limits else [])])}."
    part = "\n\n".join([mark, as_table(result, language), *pictures, told, mark])
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    earlier = re.compile(f"{re.escape(mark)}.*?{re.escape(mark)}", re.DOTALL)
    text = earlier.sub(lambda _: part, text) if earlier.search(text) else f"{text.rstrip()}\n\n{part}\n".lstrip()
    path.write_text(_summarize(text, result, language), encoding="utf-8")


def _summarize(text: str, result: Result, language: str) -> str:
    """The page with this benchmark's line in its summary, where it has one and sides are compared."""
    found = re.search(f"{SUMMARY}\n(.*?){SUMMARY}", text, re.DOTALL)
    peers = [side.name for side in result.benchmark.sides[1:] if side.name in result.turns]
    others = [name for name in peers if not name.startswith("trifold")]
    if found is None or result.benchmark.axis or not others or result.benchmark.sides[0].name not in result.turns:
        return text
    name, lines = result.benchmark.name, found[1].splitlines()
    ratios = [f"**{ratio.median:.2f}** {peer}" for peer in others if (ratio := result.ratio(peer)) is not None]
    line = _row(
        [f"[{name}](#{name})", title(result.benchmark, language), "; ".join(ratios), describe_machine(short=True)]
    )
    places = [number for number, old in enumerate(lines) if old.startswith(f"| [{name}]")]
    lines[places[0] if places else len(lines) : (places[0] if places else len(lines)) + 1] = [line]
    return text[: found.start(1)] + "\n".join([*lines, ""]) + text[found.end(1) :]


def _draw(result: Result, folder: Path, language: str) -> list[str]:
    """Pictures of what grows, as files beside the page; their Markdown."""
    benchmark = result.benchmark
    if not benchmark.axis:
        return []
    folder.mkdir(exist_ok=True)
    sides = [side for side in benchmark.sides if side.name in result.turns]
    figures = {
        "rate": (f"{benchmark.unit}/s", [result.rate(side.name).median for side in sides]),
        "memory": ("peak memory (GiB)", [_gib(result, side.name) for side in sides]),
    }
    lines = []
    for kind, (unit, values) in figures.items():
        curve = Curve(say(unit, language), [(side.size, value) for side, value in zip(sides, values, strict=True)])
        told, name = title(benchmark, language), f"{benchmark.name}-{kind}.svg"
        chart = Chart(title=told, x=say(benchmark.axis, language), y=curve.name, curves=[curve], floor=0.0)
        write_chart(chart, folder / name)
        lines.append(f"![{chart.y}, {chart.x}]({folder.name}/{name})")
    return [" ".join(lines)]


def describe_machine(*, short: bool = False) -> str:
    """Processor, cores, versions and date, in one line; without the versions where it is to be short.

    Example:
        >>> "Python" in describe_machine()
        True
    """
    names = ("torch", "transformers", "onnxruntime", "ctranslate2", "datasets")
    versions = [f"{name} {metadata.version(name)}" for name in names if importlib.util.find_spec(name)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    today = datetime.now(tz=UTC).date().isoformat()
    told = [] if short else [f"Python {platform.python_version()}", *versions]
    return ", ".join([f"{_processor()}, {cores} cores", *told, today])


def _processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
