"""Line charts as SVG that stands by itself: text stays text, nothing is fetched, the same figures give the same bytes."""

import html
import io
import math
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifold.locale import message

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Chart", "Curve", "draw_chart", "write_chart"]

WIDTH, HEIGHT, LEGEND_LINE = 420, 200, 14
"""In points; three quarters of a CSS pixel. Each entry of the legend adds a line of height."""
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 70, 26, 10, 40
MOST_DOTS = 40
COLORS = ("#2563eb", "#c2410c", "#047857", "#7e22ce")
"""Each has a contrast of at least 4.5 to white."""
SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": "#1f2937",
    "axes.labelcolor": "#1f2937",
    "axes.edgecolor": "#6b7280",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.xmargin": 0.02,
    "lines.linewidth": 1.4,
    "lines.markersize": 3,
    "grid.color": "#e5e7eb",
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
}
LOCK = threading.Lock()
"""matplotlib's settings belong to the whole process; charts are drawn one after the other."""
STYLE = re.compile(r"\s*<defs>\s*<style.*?</defs>", re.DOTALL)
"""matplotlib's rules for `*`: in an HTML page they would be for everything."""
WIDE = re.compile(
    r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line through points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]

    @property
    def finite(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        return [(float(x), float(y)) for x, y in self.points if math.isfinite(x) and math.isfinite(y)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What a picture shows.

    Attributes:
        title: what it is about; read aloud by screen readers, not drawn, since a heading stands over it.
        x: title of the horizontal axis, with its unit.
        y: title of the vertical axis, with its unit.
        curves: the lines; a legend names them where there are several.
        floor: where the vertical axis begins; None for a little below the lowest point.
    """

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    floor: float | None = None

    @property
    def visible(self) -> list[Curve]:
        """The curves that have something to draw."""
        return [curve for curve in self.curves if curve.finite]

    @property
    def height(self) -> int:
        """In points; the legend stands above the axes, so that it covers nothing."""
        return HEIGHT + LEGEND_LINE * (len(self.visible) if len(self.visible) > 1 else 0)


def draw_chart(chart: Chart) -> str:
    """The chart as an SVG element for an HTML page; empty where there is nothing to draw.

    Example:
        >>> chart = Chart(title="Loss", x="step", y="loss (nats)", curves=[Curve("training", [(0, 2.0), (1, 1.0)])])
        >>> picture = draw_chart(chart)
        >>> picture.startswith('<svg role="img"'), "loss (nats)</text>" in picture, "http" in picture
        (True, True, False)
    """
    return _svg(chart) if chart.visible else ""


def write_chart(chart: Chart, path: Path) -> None:
    """Write the chart into an SVG file of its own.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "loss.svg"
        ...     write_chart(Chart(title="Loss", x="step", y="loss", curves=[Curve("a", [(0, 1.0), (1, 0.5)])]), path)
        ...     path.read_text(encoding="utf-8").startswith('<svg xmlns="http://www.w3.org/2000/svg"')
        True
    """
    path.write_text(draw_chart(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1), encoding="utf-8")


def _svg(chart: Chart) -> str:
    from matplotlib import style
    from matplotlib.backends.backend_svg import RendererSVG

    class Renderer(RendererSVG):
        """Takes a Chinese character to be as wide as an M: the browser draws it, the font here may not have it."""

        def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> tuple[float, float, float]:
            return super().get_text_width_height_descent(WIDE.sub("M", s), prop, ismath)

    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    file = io.StringIO()
    with LOCK, style.context(["default", SETTINGS, {"svg.hashsalt": repr(chart)}]):
        figure = _figure(chart)
        figure.dpi = 72  # an SVG's unit
        renderer = Renderer(WIDTH, chart.height, file, metadata=nothing)
        figure.draw(renderer)
        renderer.finalize()
    return _tidy(file.getvalue(), chart)


def _figure(chart: Chart) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    height = chart.height
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    wide, tall = WIDTH - MARGIN_LEFT - MARGIN_RIGHT, HEIGHT - MARGIN_BOTTOM - MARGIN_TOP
    axes = figure.add_axes((MARGIN_LEFT / WIDTH, MARGIN_BOTTOM / height, wide / WIDTH, tall / height))
    for number, curve in enumerate(chart.visible):
        xs, ys = zip(*curve.finite, strict=True)
        marker = "o" if len(xs) <= MOST_DOTS else ""
        axes.plot(xs, ys, label=curve.name, color=COLORS[number % len(COLORS)], marker=marker)
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    axes.set_ylim(bottom=chart.floor)
    for axis, most in ((axes.xaxis, 5), (axes.yaxis, 6)):
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if height > HEIGHT:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, borderaxespad=0, labelspacing=0.2)
    return figure


def _tidy(text: str, chart: Chart) -> str:
    """One element with a role and a description; ids that nothing points to would meet those of other charts in a page."""
    body = text[text.index("<svg") :]
    body = body[body.index(">") + 1 :].replace("xlink:href", "href")
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = STYLE.sub("", body, count=1)
    height = chart.height
    told = f"<title>{html.escape(chart.title)}</title><desc>{html.escape(_describe(chart))}</desc>"
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}pt" height="{height}pt"'
    return f'<svg role="img" {size} stroke-linejoin="round">{told}{body.rstrip()}'


def _describe(chart: Chart) -> str:
    """The chart in words: where each line begins and ends, and its lowest and highest points."""
    told = [message("evaluation.chart_axes", x=chart.x, y=chart.y)]
    for curve in chart.visible:
        points = sorted(curve.finite)
        ys = [y for _, y in points]
        ends = {"first": points[0][1], "last": points[-1][1], "low": min(ys), "high": max(ys)}
        numbers = {name: f"{value:,.4g}" for name, value in ends.items()}
        told.append(message("evaluation.chart_line", name=curve.name, **numbers))
    return " ".join(told)
