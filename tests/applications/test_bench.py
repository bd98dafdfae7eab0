import inspect
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import child, turns
from benchmarks.__main__ import main
from benchmarks.catalogue import NAMES, find_benchmark
from benchmarks.page import SUMMARY, update_page
from benchmarks.turns import measure
from benchmarks.words import say, title
from benchmarks.work import Benchmark, Measured, Side, Work


def bench(*words):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


ROOT = Path(__file__).parents[2]
QUICK = ("corpus",)
"""The others run with `make bench-smoke` and `make test-all`."""


@pytest.mark.parametrize(
    "benchmark", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_every_side_of_a_benchmark_still_runs(benchmark):
    done = bench(benchmark, "--smoke", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["benchmarks"]
    assert [one["name"] for one in found] == [benchmark]
    for one in found:
        for name, side in one["sides"].items():
            problem = side.get("problem", "")
            assert not problem or "no checkout" in problem or "not installed" in problem, (
                f"{one['name']}, {name}: {problem}"
            )
            assert problem or side["rate"]["median"] > 0


def test_an_unknown_benchmark_is_refused_with_those_there_are(capsys):
    assert main(["speed"]) == 2
    assert "decoder" in capsys.readouterr().err


def test_a_benchmark_without_its_data_says_what_it_needs(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("TRIFOLD_DATA", raising=False)
    assert main(["corpus", "--folder", str(tmp_path)]) == 2
    assert "lm_en/enwiki_sample" in capsys.readouterr().err


def failing(work):
    raise RuntimeError("a|b\nc")


@pytest.fixture
def result():
    sides = (
        Side(name="fast", run=lambda work: Measured(amount=30, seconds=1.0, quality=0.5)),
        Side(name="slow", run=lambda work: Measured(amount=10, seconds=1.0, quality=0.5), bar=2.0),
        Side(name="broken", run=failing),
        Side(name="absent", run=failing, needs=("no_such_module",)),
    )
    return measure(
        Benchmark(name="x", title="some work", title_zh="某项工作", unit="tokens", quality="loss", sides=sides),
        Work(smoke=True),
    )


def test_ratios_are_taken_round_by_round_and_problems_are_named(result):
    assert result.ratio("slow").median == 3.0
    assert "RuntimeError: a/b c" in result.problems["broken"]
    assert "no_such_module" in result.problems["absent"]


def test_a_page_keeps_one_table_for_each_benchmark(result, tmp_path):
    page = tmp_path / "page.md"
    update_page(tmp_path / "new" / "page.md", result, command="python -m benchmarks x")
    assert "### x\n\nSome work." in (tmp_path / "new" / "page.md").read_text(encoding="utf-8")
    page.write_text("# Speed\n\nSome words.\n", encoding="utf-8")
    update_page(page, result, command="python -m benchmarks x")
    once = page.read_text(encoding="utf-8")
    update_page(page, result, command="python -m benchmarks x")
    assert page.read_text(encoding="utf-8") == once
    assert once.startswith("# Speed\n\nSome words.\n")
    assert "| slow | 10.0 | **3.00** | " in once


def test_the_summary_of_a_page_has_a_line_for_each_comparison(result, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"{SUMMARY}\n| work |\n|---|\n| [y](#y) | kept |\n{SUMMARY}\n\nMore.\n", encoding="utf-8")
    for _ in range(2):
        update_page(page, result, command="python -m benchmarks x", language="zh")
    summary = page.read_text(encoding="utf-8").split(SUMMARY)[1]
    lines = summary.strip().splitlines()
    assert lines[2:3] == ["| [y](#y) | kept |"] and len(lines) == 4
    assert lines[3].startswith("| [x](#x) | 某项工作。 | **3.00** slow |")
    assert "More." in page.read_text(encoding="utf-8")


def test_the_help_lists_every_name_with_what_it_measures(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert all(any(line.startswith(f"  {name} ") and len(line.split()) > 2 for line in lines) for name in NAMES)


def test_growth_is_drawn_beside_the_page(tmp_path):
    sides = tuple(Side(name=str(size), run=lambda _: Measured(amount=1, seconds=1), size=size) for size in (1, 2, 4))
    growing = Benchmark(name="growing", title="t", title_zh="题", unit="tokens", sides=sides, axis="threads")
    page = tmp_path / "speed.md"
    update_page(page, measure(growing, Work(smoke=True)), command="python -m benchmarks growing")
    assert "![tokens/s, threads](speed/growing-rate.svg)" in page.read_text(encoding="utf-8")
    drawn = ElementTree.parse(tmp_path / "speed" / "growing-rate.svg").getroot()  # noqa: S314 - our own file
    words = {text.text for text in drawn.findall(".//{http://www.w3.org/2000/svg}text")}
    assert {"threads", "tokens/s"} <= words
    assert (tmp_path / "speed" / "growing-memory.svg").exists()


def test_a_turn_in_its_own_process_gives_what_it_measured():
    work = Work(threads=1, data=None)
    command = [sys.executable, "-m", "benchmarks.child", "attention", "torch", str(os.getpid())]
    given = json.dumps({"smoke": True, "threads": work.threads})
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["amount"] > 0
    assert found["memory"] > 2**20


@pytest.mark.skipif(sys.platform == "win32", reason="needs select on a pipe")
def test_a_turn_ends_with_the_benchmark_that_was_killed():
    start = f"""import os, subprocess, sys
        subprocess.Popen([sys.executable, "-m", "{child.__name__}", "attention", "torch", str(os.getpid())])
        print(flush=True)
        sys.stdin.read()"""  # it waits for its work on the same standard input
    with subprocess.Popen([sys.executable, "-c", inspect.cleandoc(start)], cwd=ROOT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as benchmark:  # fmt: skip
        assert benchmark.stdout is not None and benchmark.stdout.readline()
        benchmark.kill()
        ended, _, _ = select.select([benchmark.stdout], [], [], 60)  # when nobody can write to it any more
        assert ended


def test_a_side_that_crashes_is_said_to_have_crashed(monkeypatch):
    ended = subprocess.CompletedProcess([], -signal.SIGSEGV, "", "Loading weights: 100%")
    monkeypatch.setattr(turns.subprocess, "run", lambda *_, **__: ended)
    result = measure(find_benchmark("attention"), Work(data=None), rounds=1)
    assert set(result.problems.values()) == {"ChildProcessError: SIGSEGV"}


def test_every_benchmark_says_what_it_measures():
    for name in NAMES:
        found = find_benchmark(name)
        assert found.name == name
        assert title(found, "en").endswith(".") and title(found, "zh").endswith("。")
        assert all(say(words, "zh") for words in (f"{found.unit}/s", found.quality, found.axis) if words)
        assert found.unit in ("tokens", "texts", "runs")
