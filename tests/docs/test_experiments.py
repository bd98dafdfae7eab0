"""The recipes of `experiments/` can be used: each builds, its commands parse, the makers of questions keep their word."""

import ast
import json
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from trifold.tasks import FineTuning
from trifold.training import Experiment

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "experiments").glob("*.py"))
ENGLISH = """\
The river Aller rises near Old Hilltown. It runs for ninety miles. Nobody knows who gave Old Hilltown its name.
Two mills stand beside the river Aller. One of them still grinds corn. The other one is a museum now.""".replace(
    "\n", " "
)
CHINESE = "青石镇位于云水河上游。镇上有两座古桥。云水河每年夏天涨水。居民多在青石镇东边种茶。茶叶运往外地。"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipes_build_and_their_commands_parse(file, monkeypatch):
    from trifold.cli.console import Console
    from trifold.cli.main import COMMANDS
    from trifold.cli.parse import find_command, parse

    monkeypatch.chdir(ROOT)
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    lines = [line.strip() for line in told.splitlines() if line.strip().startswith(("trifold ", "python "))]
    assert lines, "a recipe says how it is used"
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] == "trifold":
            command, rest = find_command(words[1:], COMMANDS)
            parse(command, rest, Console())
        else:
            assert (ROOT / words[1]) in FILES
    make = runpy.run_path(str(file)).get("experiment")
    assert make is None or isinstance(make(), Experiment | FineTuning)


def made_by(script: str, text: str, place: Path, monkeypatch) -> list[dict]:
    (place / "text.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [script, str(place / "out.jsonl"), str(place / "text.jsonl")])
    runpy.run_path(str(ROOT / "experiments" / script), run_name="__main__")
    return [json.loads(line) for line in (place / "out.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("text", "recurs"), [(ENGLISH, {"river Aller", "Old Hilltown"}), (CHINESE, {"青石镇", "云水河"})]
)
def test_what_fills_the_gap_of_a_question_stands_in_the_rest_of_the_passage(text, recurs, tmp_path, monkeypatch):
    (one,) = made_by("recurring_spans.py", text, tmp_path, monkeypatch)
    (answer,) = one["answers"]
    assert any(answer["text"] in name or name in answer["text"] for name in recurs)
    assert one["context"][answer["start"] :].startswith(answer["text"])
    assert answer["text"] not in one["question"] and ("what" in one["question"] or "什么" in one["question"])


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_a_sentence_and_its_passage_are_partners(text, tmp_path, monkeypatch):
    (pair,) = made_by("inverse_cloze.py", text, tmp_path, monkeypatch)
    assert pair["query"] in text and len(pair["positive"]) > len(pair["query"])
