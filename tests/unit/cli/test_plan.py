"""What `trifold plan` says of a run before it starts, and after it."""

import json

import pytest

from tests.applications.test_runs import call, write_text
from tests.unit.tasks.test_pace import rows
from trifold.tasks import pace
from trifold.training import forecast as module
from trifold.training import timing
from trifold.training.timing import StepTime

SMALL = ("--preset", "gpt2", "--document", "line", "--overrides", "num_layers=1", "d_model=16", "num_heads=2",
         "dropout=0.0", "--kind", "character", "--vocab-size", 128, "--length", 32, "--batch-size", 4)  # fmt: skip


@pytest.fixture
def busy(monkeypatch):
    """A machine on which a step takes 6 s where it could take 0.4."""
    for place in (module, timing):
        monkeypatch.setattr(place, "time_step", lambda *_: StepTime(free=0.4, now=6.0))
    monkeypatch.setattr("trifold.training.fit.time_step", lambda *_: StepTime(free=0.4, now=6.0))
    monkeypatch.setattr(pace, "time_batches", lambda *_, **__: StepTime(free=0.4, now=6.0))


def test_a_busy_machine_is_said_with_both_figures(tmp_path, capsys, busy):
    data = write_text(tmp_path / "text.txt")
    code, out, err = call(capsys, "plan", *SMALL, "--data", data, "--steps", 100)
    assert (
        code == 0 and "6.00 s as it is now, and about 0.40 s" in out and "40 s on a free machine, and 10:00" in out
    ), err
    code, out, _ = call(capsys, "plan", *SMALL, "--data", data, "--minutes", 2, "--json")
    facts = json.loads(out)
    assert facts["step_seconds"] == 0.4 and facts["step_seconds_now"] == 6.0
    assert facts["steps"] <= 300 and facts["seconds_now"] == pytest.approx(15 * facts["seconds"])


def test_too_many_readings_and_too_large_a_model_are_said(tmp_path, capsys):
    data = write_text(tmp_path / "text.txt")
    code, out, err = call(capsys, "plan", *SMALL, "--data", data, "--steps", 20_000, "--no-measure")
    assert code == 0 and "learns the text by heart" in out and "times the text is read" in out, err
    words = ("--preset", "llama", "--size", "small", "--data", data, "--steps", 50, "--no-measure")
    code, out, err = call(capsys, "plan", *words)
    assert code == 0 and "A smaller model would do better" in out and "--size tiny" in out, err


def test_what_was_predicted_stands_beside_what_came(tmp_path, capsys, busy):
    data, run = write_text(tmp_path / "text.txt"), tmp_path / "run"
    code, out, err = call(capsys, "pretrain", *SMALL, "--data", data, "--steps", 100, "--out", run)
    assert code == 0 and "Predicted at the beginning / actual" in out and "40.0 s (600.0 s as busy" in out, err
    known = json.loads((run / "trifold.json").read_text(encoding="utf-8"))
    assert known["forecast"]["step_seconds"] == 0.4 and known["forecast"]["seconds_now"] == pytest.approx(600)
    assert call(capsys, "report", run)[0] == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "predicted / actual" in page and "40.0 s (600.0 s" in page
    code, out, _ = call(capsys, "plan", run, "--json", "--no-measure")
    facts = json.loads(out)
    assert facts["predicted"]["seconds"] == pytest.approx(40) and facts["actual"]["seconds"] < 40
    assert facts["predicted"]["best_step"] and facts["actual"]["tokens_per_second"] > 0


@pytest.fixture
def reviews(tmp_path):
    lines = ["text\tlabel", *("\t".join(row) for row in rows(200))]
    (tmp_path / "train.tsv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "train.tsv"


TUNING = ("classification", "--overrides", "num_layers=1", "d_model=16", "num_heads=2", "--vocab-size", 300,
          "--batch-size", 4)  # fmt: skip


def test_a_fine_tuning_is_planned_with_its_own_options(tmp_path, capsys, busy, reviews):
    words = (*TUNING, "--train", reviews, "--steps", 180)
    code, out, err = call(capsys, "plan", "finetune", *words, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["steps"] == 180 and facts["epochs"] == pytest.approx(180 * 4 / 185), err  # 15 are dev
    assert facts["seconds"] == pytest.approx(72) and facts["seconds_now"] == pytest.approx(1080)
    assert facts["examples_per_second"] == pytest.approx(10) and facts["linear_seconds"] > 0 and facts["ends"]
    code, out, err = call(capsys, "plan", "finetune", *words)
    assert code == 0 and "times the examples are read" in out and "it would be done at about" in out, err
    assert "6.00 s as it is now, and about 0.40 s" in out and "1:12 on a free machine, and 18:00" in out
    assert "target tokens" not in out
    code, out, err = call(capsys, "plan", "finetune", *TUNING, "--train", reviews, "--minutes", 5, "--no-measure")
    assert code == 0 and "memory at the peak" in out, err
    assert not (tmp_path / "runs").exists()


def test_what_a_fine_tuning_predicted_stands_beside_what_came(tmp_path, capsys, busy, reviews):
    words = ("finetune", *TUNING, "--train", reviews, "--steps", 100)
    code, out, err = call(capsys, *words, "--out", tmp_path / "run")
    assert code == 0 and "Predicted at the beginning / actual" in out and "40.0 s (600.0 s as busy" in out, err
    assert "examples a second, predicted / actual 10 / " in out
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "time, predicted / actual" in page and "40.0 s (600.0 s" in page
    code, out, err = call(capsys, "plan", tmp_path / "run", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["predicted"]["seconds"] == pytest.approx(40) and facts["actual"]["seconds"] < 40, err
    code, out, _ = call(capsys, *words, "--out", tmp_path / "again", "--json")
    assert code == 0 and json.loads(out)["forecast"]["step_seconds"] == 0.4


def test_a_fine_tuning_says_why_it_stopped(tmp_path, capsys, reviews):
    length = ("--minutes", 2, "--patience", 2, "--training.evaluate_every", 20)
    words = ("finetune", *TUNING, "--train", reviews, "--lr", 0.01, "--task.ngrams", 0, "--metric", "loss", *length)
    code, out, err = call(capsys, *words, "--out", tmp_path / "run")
    known = json.loads((tmp_path / "run" / "trifold.json").read_text(encoding="utf-8"))["result"]
    assert code == 0 and known["stopped_early"] and known["seconds"] < 110, err
    assert f"Stopped after step {known['steps']}: no gain since step {known['best_step']}." in out
