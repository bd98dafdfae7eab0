import subprocess
import sys
import threading
from xml.etree import ElementTree

import pytest

from trifold.evaluation.chart import Chart, Curve, draw_chart, write_chart

SVG = "{http://www.w3.org/2000/svg}"
LOSS = Curve("训练", [(0, 7.5), (1_000_000, 4.2), (2_000_000, 3.1)])
HELD_OUT = Curve("held-out <b>", [(1_000_000, 4.4), (2_000_000, 3.6)])


def chart(*curves):
    return Chart(title="运行 & loss", x="词元（个）", y="损失", curves=curves)


@pytest.fixture
def drawn(tmp_path):
    write_chart(chart(LOSS, HELD_OUT), tmp_path / "loss.svg")
    return ElementTree.parse(tmp_path / "loss.svg").getroot()  # noqa: S314 - our own file


def places(drawn, words):
    """Where the texts stand, by what they say."""
    found = {
        text.text: (float(text.get("x")), float(text.get("y"))) for text in drawn.iter(f"{SVG}text") if text.get("x")
    }
    return [found[word] for word in words]


def test_text_stays_text_in_chinese_too(drawn):
    assert {"词元（个）", "损失", "训练", "held-out <b>"} <= {text.text for text in drawn.iter(f"{SVG}text")}
    assert drawn.get("role") == "img"
    assert drawn.find(f"{SVG}title").text == "运行 & loss"
    assert "训练" in drawn.find(f"{SVG}desc").text and "3.1" in drawn.find(f"{SVG}desc").text


def test_ticks_are_round_and_the_legend_stands_above_the_axes(drawn):
    assert places(drawn, ["0", "1,000,000", "2,000,000"])
    highest_tick = min(y for _, y in places(drawn, ["7"]))
    assert all(y < highest_tick for _, y in places(drawn, ["训练", "held-out <b>"]))


def test_the_same_figures_give_the_same_bytes_and_nothing_is_fetched():
    once = draw_chart(chart(LOSS, HELD_OUT))
    assert draw_chart(chart(LOSS, HELD_OUT)) == once
    assert not any(word in once for word in ("http", "<style", "<script", "<!DOCTYPE", "Matplotlib"))


def test_charts_of_a_page_share_no_id():
    ids = [{node.get("id") for node in ElementTree.fromstring(draw_chart(chart(curve))).iter() if node.get("id")}  # noqa: S314
           for curve in (LOSS, HELD_OUT)]  # fmt: skip
    assert ids[0] and ids[1] and not ids[0] & ids[1]


def test_threads_draw_what_one_draws_and_leave_the_settings_alone():
    import matplotlib as mpl

    before, found = mpl.rcParams.copy(), []
    threads = [threading.Thread(target=lambda: found.append(draw_chart(chart(LOSS)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {draw_chart(chart(LOSS))} and len(found) == 4
    assert mpl.rcParams.copy() == before


def test_nothing_is_drawn_of_nothing():
    assert draw_chart(chart(Curve("empty", []), Curve("infinite", [(0, float("inf"))]))) == ""


def test_the_library_is_loaded_for_the_first_chart_only():
    code = """import sys, trifold.evaluation.report
        from trifold.evaluation.chart import Chart, Curve, draw_chart
        assert "matplotlib" not in sys.modules
        draw_chart(Chart(title="a", x="b", y="c", curves=[Curve("d", [(0, 1), (1, 2)])]))
        assert "matplotlib.pyplot" not in sys.modules"""
    lines = "\n".join(line.strip() for line in code.splitlines())
    subprocess.run([sys.executable, "-c", lines], check=True)
