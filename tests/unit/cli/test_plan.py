"""What `trifold plan` says of a run before it starts, and after it."""

import json

import pytest

from tests.applications.test_runs import call, write_text
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
