"""Several processes started by one command: it ends as they do, and none outlives it."""

import os
import signal
import threading
import time

import pytest

from tests.applications.test_runs import call, write_text
from trifold.cli import launch as module
from trifold.cli.launch import launch


def test_two_processes_are_one_run(tmp_path, capsys):
    text = write_text(tmp_path / "text.txt")
    words = [
        "pretrain",
        "--preset",
        "gpt2",
        "--data",
        text,
        "--document",
        "line",
        "--steps",
        3,
        "--overrides",
        "num_layers=1",
        "d_model=16",
        "num_heads=2",
        "--kind",
        "character",
        "--vocab-size",
        128,
        "--length",
        32,
        "--batch-size",
        4,
        "training.accumulation=2",
        "--deterministic",
    ]
    with pytest.raises(SystemExit) as ended:
        call(capsys, *words, "--out", tmp_path / "two", "--processes", 2)
    assert ended.value.code == 0
    assert call(capsys, *words, "--out", tmp_path / "one")[0] == 0
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_number_of_processes_that_cannot_share_the_work_is_refused_before_any_starts(tmp_path, capsys):
    text = write_text(tmp_path / "text.txt")
    code, _, err = call(
        capsys,
        "pretrain",
        "--preset",
        "gpt2",
        "--data",
        text,
        "--out",
        tmp_path / "run",
        "--steps",
        1,
        "--processes",
        3,
        "training.accumulation=2",
    )
    assert code == 2 and "3 processes" in err, err
    assert not (tmp_path / "run").exists()


def test_the_exit_code_is_that_of_the_one_that_failed_by_itself():
    assert module._summary([0, 0]) == 0
    assert module._summary([7, 3, 7]) == 3
    assert module._summary([0, -9]) == 7


@pytest.fixture
def sleepers(monkeypatch):
    """What is started instead of trifold: the first process fails at once where it is told to, the others sleep."""
    started = []

    def start(words, rank, count, port):
        import subprocess
        import sys

        script = "import sys, time; time.sleep(0 if sys.argv[1] == 'fail' and sys.argv[2] == '0' else 60); sys.exit(3)"
        started.append(subprocess.Popen([sys.executable, "-c", script, words[0], str(rank)], process_group=0))
        return started[-1]

    monkeypatch.setattr(module, "_start", start)
    return started


def test_one_that_does_not_end_after_another_failed_is_killed(sleepers, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    assert launch(["fail"], 2) == 3
    assert sorted(process.returncode for process in sleepers) == [-9, 3]


def test_signals_are_passed_on_and_the_old_handlers_come_back(sleepers):
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        while len(sleepers) < 2:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    assert launch(["sleep"], 2) == 7
    assert [process.returncode for process in sleepers] == [-signal.SIGTERM] * 2
    assert signal.getsignal(signal.SIGTERM) == before
