"""The demo, made short: less text, few functions and hardly any training, but every part of it."""

import json
import sys
from pydoc_data import topics

import pytest

from tests.applications.test_runs import call
from trifold.cli import demo, demo_page
from trifold.cli.console import Console
from trifold.cli.demo_steps import NEXT, Sample
from trifold.cli.main import COMMANDS, main
from trifold.cli.parse import find_command, parse
from trifold.errors import MissingExtraError
from trifold.samples import exercises, library
from trifold.tasks import finetune
from trifold.training import Training

READ = (
    "asyncio/locks", "csv", "email/message", "random", "shutil", "socket", "tarfile", "textwrap", "threading",
    "tkinter/ttk", "typing", "unittest/case",
)  # fmt: skip
"""Modules that stand for the standard library here; two of them are held out."""


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(topics, "topics", dict(list(topics.topics.items())[:20]))
    files = [path for path in library.module_files() if path.with_suffix("").as_posix().endswith(READ)]
    monkeypatch.setattr(library, "module_files", lambda: files)
    whole = exercises._write_table

    def some(folder, name, head, lines):
        whole(folder, name, head, lines[::8] if name in ("reviews", "pairs") else lines)

    monkeypatch.setattr(exercises, "_write_table", some)


def test_the_demo_shows_three_families_and_five_applications_on_one_page(tmp_path, capsys, short):
    out = tmp_path / "demo"
    words = ("demo", "--out", out, "--minutes", 0.02, "--vocab-size", 600)
    code, said, err = call(capsys, *words, "--json")
    assert code == 0, err
    result = json.loads(said)
    assert list(result["runs"]) == ["gpt2", "bert", "t5"]
    assert list(result["applications"]) == ["sentiment", "classification", "translation", "span_qa", "generation"]
    assert all(len(shown["samples"]) >= 2 for shown in result["applications"].values())
    assert all(shown["judgement"]["split"] == "test" for shown in result["applications"].values())
    shown = (out / "report.html").read_text(encoding="utf-8")
    assert all(f'href="{name}/report.html"' in shown for name in result["applications"])
    assert "trifold pretrain --data BOOK.txt" in shown and "<svg" in shown and "background:rgba(37,99,235" in shown


def test_no_model_of_the_demo_reads_what_it_is_judged_on(tmp_path, short):
    exercises.write_text(tmp_path)
    exercises.write_exercises(tmp_path)
    files = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    pairs = [(name, name.replace(".train.", ".test.")) for name in files if ".train." in name]
    assert len(pairs) == 5
    for train, test in [("train.jsonl", "valid.jsonl"), *pairs]:
        assert files[train].splitlines() and len(files[test].splitlines()) > 3
        assert not set(files[train].splitlines()[1:]) & set(files[test].splitlines()[1:]), train
    for name in ("train.jsonl", "questions.train.jsonl", "descriptions.train.jsonl"):
        assert "copytree" not in files[name]  # of a module that is held out


def test_questions_about_functions_have_their_answers_in_signature_and_docstring(short):
    copy = next(function for function in library.read_functions() if function.name == "shutil.copyfile")
    rows = list(exercises._questions([copy]))
    for row in rows:
        (answer,) = row["answers"]
        assert row["context"][answer["start"] :].startswith(answer["text"])
    assert rows[0]["answers"][0]["text"] == copy.purpose
    assert rows[-1]["answers"][0]["text"] == "True" and "follow_symlinks" in rows[-1]["question"]


def test_what_is_to_be_tried_next_can_be_typed():
    for line in NEXT:
        _, *words = line.split()
        command, rest = find_command(words, COMMANDS)
        parse(command, rest, Console())


def test_an_answer_is_marked_where_it_stands():
    sample = Sample("Who?", "a <b>", "it was a <b> then", 7, 12)
    assert "it was <mark>a &lt;b&gt;</mark> then" in demo_page._sample(sample)


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    code, _, err = call(capsys, "demo", "--out", tmp_path)
    assert code == 2 and str(tmp_path) in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_demo_begins_again_where_one_has_been(tmp_path, capsys):
    (tmp_path / demo.OWN).touch()
    (tmp_path / "old").write_text("of the last demo")
    demo._claim(tmp_path, Console())
    assert [path.name for path in tmp_path.iterdir()] == [demo.OWN]
    assert str(tmp_path) in capsys.readouterr().err


def test_what_the_demo_needs_at_its_end_is_asked_for_at_its_beginning(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    assert "trifold[eval]" in capsys.readouterr().err and not (tmp_path / "demo").exists()


def test_translations_that_could_not_be_judged_are_not_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    pairs = [(f"{number} a", f"b {number}") for number in range(30)]
    with pytest.raises(MissingExtraError, match="sacrebleu"):
        finetune("vaswani", tmp_path / "run", train=pairs, task="translation", training=Training(steps=1))
    assert not (tmp_path / "run").exists()
