"""What runs say at their end, what their pages show, and where the pages are: in both languages."""

import re

import numpy as np
import pytest

from trifold.cli.main import main

WORDS = "the cat sat on a mat and the dog ran to it 猫 坐 在 垫子 上".split()
SMALL = ["--vocab-size", "300", "--length", "16", "--batch-size", "4"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIFOLD_LANG", "en")
    dice = np.random.default_rng(0)
    lines = [" ".join(dice.choice(WORDS, 9)) for _ in range(300)]
    (tmp_path / "text.txt").write_text("\n\n".join(lines), encoding="utf-8")
    rows = "".join(f"{word} film {number}\t{word}\n" for number in range(30) for word in ("good", "bad"))
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    return tmp_path


def pretrain(preset, name, *words):
    return main(["pretrain", "--data", "text.txt", "--document", "paragraph", "--preset", preset, "--steps", "3",
                 "--out", name, *SMALL, *words])  # fmt: skip


@pytest.mark.parametrize("preset", ["gpt2", "bert", "t5", "vaswani", "bart"])
def test_a_pre_training_run_ends_with_its_best_step_a_verdict_and_a_page(place, capsys, preset):
    assert pretrain(preset, "run") == 0
    said = capsys.readouterr().out
    assert "weights of" in said and re.search(r"(worse|better) than a (\d-gram|unigram|3-gram cloze) model", said)
    assert "also chose the weights" in said and "run/report.html" in said
    page = (place / "run" / "report.html").read_text(encoding="utf-8")
    assert "on the held-out text</text>" in page, "the line of the baseline"
    assert ("What the model writes" in page) == (preset != "bart") and "train_0" not in page and "\ufffd" not in page


@pytest.mark.parametrize(
    ("language", "words"), [("en", ["next token", "training text"]), ("zh", ["下一词元", "训练文本", "模型的写作"])]
)
def test_a_page_is_in_the_language_of_its_reader(place, monkeypatch, language, words):
    monkeypatch.setenv("TRIFOLD_LANG", language)
    assert pretrain("gpt2", "run") == 0
    page = (place / "run" / "report.html").read_text(encoding="utf-8")
    assert all(word in page for word in words)
    assert language == "en" or not re.search(r">[^<]*\b(train|valid|causal|loss)\b[^<]*<", page)


def test_a_page_about_several_runs_leaves_theirs_alone(place, capsys):
    assert pretrain("gpt2", "runs/a") == 0 and pretrain("gpt2", "runs/b", "--seed", "1") == 0
    assert main(["finetune", "sentiment", "--train", "train.tsv", "--steps", "1", "--out", "runs/c"]) == 0
    own = (place / "runs" / "a" / "report.html").read_bytes()
    capsys.readouterr()
    assert main(["report", "runs/a", "runs/b", "runs/c"]) == 0
    assert capsys.readouterr().out.splitlines() == ["runs/c/report.html", "runs/report/report.html"]
    assert (place / "runs" / "a" / "report.html").read_bytes() == own
    page = (place / "runs" / "report" / "report.html").read_text(encoding="utf-8")
    assert "<h2>a</h2>" in page and "<h2>b</h2>" in page


def test_a_comparison_names_its_runs(place, capsys):
    for number in (0, 1):
        words = ["--train", "train.tsv", "--steps", "2", "--seed", str(number), "--out", f"run-{number}"]
        assert main(["finetune", "sentiment", *words]) == 0
        said = capsys.readouterr().out
        assert re.search(r"weights of (the last )?step,? \d", said) and "most frequent label" in said
    assert main(["compare", "run-0", "run-1", "--data", "train.tsv"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("run-0 - run-1 on 60 examples") and "by run-0 alone" in said and "by run-1 alone" in said
