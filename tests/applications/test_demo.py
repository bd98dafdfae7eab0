"""The demo, made short: less text, few functions and hardly any training, but every part of it."""

import json
import sys
from pydoc_data import topics

import pytest

from tests.applications.test_runs import call
from trifold.cli import applications, corpus, demo
from trifold.cli.console import Console
from trifold.cli.main import main
from trifold.errors import MissingExtraError
from trifold.tasks import finetune
from trifold.training import Training


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(topics, "topics", dict(list(topics.topics.items())[:20]))
    monkeypatch.setattr(corpus, "MOST_BYTES", 200_000)
    monkeypatch.setattr(applications, "MOST_FUNCTIONS", 40)
    files = corpus.module_files()[::9]
    for module in (corpus, applications):
        monkeypatch.setattr(module, "module_files", lambda: files)


def test_the_demo_shows_three_families_and_five_applications_on_one_page(tmp_path, capsys, short):
    out = tmp_path / "demo"
    words = ("demo", "--out", out, "--minutes", 0.02, "--vocab-size", 600)
    code, said, err = call(capsys, *words, "--json")
    assert code == 0, err
    found = json.loads(said)
    assert list(found["runs"]) == ["gpt2", "bert", "t5"]
    assert list(found["applications"]) == ["sentiment", "classification", "translation", "span_qa", "generation"]
    assert all(len(one["samples"]) == 2 for one in found["applications"].values())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(f'href="{name}/report.html"' in page for name in found["applications"])
    trained, held = ((out / "data" / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("train", "valid"))
    assert set(trained.splitlines()).isdisjoint(held.splitlines())


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
