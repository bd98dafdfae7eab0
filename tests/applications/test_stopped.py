"""What is stopped stays stopped, is called by its name, and goes on: also after what it was made of has been moved."""

import signal

import numpy as np
import pytest

from trifold.cli.main import main
from trifold.errors import PreemptedError
from trifold.presets.pretrained import Transformer
from trifold.tasks import FineTuning, LabelledData
from trifold.tasks.sweep import sweep
from trifold.training import ModelChoice, TokenizerChoice, read_experiment
from trifold.training.log import read_metrics

SMALL = ["--vocab-size", "300", "--length", "16", "--batch-size", "4"]
WORDS = "the cat sat on a mat and the dog ran to it good bad dull moving".split()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIFOLD_LANG", "en")
    dice = np.random.default_rng(0)
    text = "\n".join(" ".join(dice.choice(WORDS, 9)) for _ in range(200))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    rows = "".join(f"{word} film {number}\t{word}\n" for number in range(30) for word in ("good", "bad"))
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    return tmp_path


def interrupt_at(monkeypatch, step):
    """Send Ctrl-C to this process when a run has done so many steps."""
    from trifold.training import loop

    tell = loop._tell

    def told(done, *rest, **named):
        tell(done, *rest, **named)
        if done.step == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "_tell", told)


EXPERIMENT = FineTuning(
    model=ModelChoice(preset="bert", size="tiny", overrides={"num_layers": 1, "d_model": 32, "num_heads": 2}),
    data=LabelledData(train="train.tsv"),
    tokenizer=TokenizerChoice(vocab_size=300),
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_search_and_not_a_try(place, number):
    pytest.importorskip("optuna")
    tries, seen = [], []

    def listen(event):
        if event.step is not None:
            seen.append(event.step.step)
            if len(tries) == 1:
                signal.raise_signal(number)

    with pytest.raises(PreemptedError, match=r"try 1\. The best .* is try 0;"):
        sweep(EXPERIMENT, place / "out", trials=4, listen=listen, done=tries.append)
    assert [trial.state for trial in tries] == ["complete", "stopped"]
    assert sorted(path.name for path in (place / "out").iterdir()) == ["trial-0", "trial-1"]


@pytest.mark.parametrize(
    ("words", "varied"),
    [
        (["--steps", "2"], {"--lr", "--batch-size"}),
        (["--steps", "2", "--lr", "1e-3"], {"--batch-size"}),
        (["--epochs", "1", "--batch-size", "8"], {"--lr"}),
    ],
)
def test_a_search_varies_only_what_is_not_given(place, capsys, words, varied):
    pytest.importorskip("optuna")
    small = ["--overrides", "num_layers=1", "d_model=32", "num_heads=2", "--vocab-size", "300", "--out", "out"]
    assert main(["sweep", "sentiment", "--model", "bert", "--train", "train.tsv", "--trials", "2", *small, *words]) == 0
    (best,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Best: ")]
    assert {word for word in best.split() if word.startswith("--")} == varied
    tried = read_experiment(place / "out" / "trial-0", FineTuning)
    assert "--steps" not in words or tried.training.steps == 2
    assert "--lr" not in words or tried.training.optimizer.lr == 1e-3


def test_the_minutes_of_a_search_are_those_of_all_tries_together(place):
    pytest.importorskip("optuna")
    assert (
        main(["sweep", "sentiment", "--train", "train.tsv", "--trials", "2", "--minutes", "0.02", "--out", "out"]) == 0
    )
    tried = read_experiment(place / "out" / "trial-1", FineTuning)
    assert tried.training.minutes == pytest.approx(0.01) and tried.epochs is None


def test_a_search_with_nothing_to_vary_is_refused(place, capsys):
    words = ["--lr", "1e-3", "--batch-size", "8", "--steps", "2"]
    assert main(["sweep", "sentiment", "--train", "train.tsv", *words]) == 2
    assert "--lr, --batch-size, --steps are all given" in capsys.readouterr().err


def test_ctrl_c_that_saved_the_run_is_no_error_and_the_run_goes_on_after_a_move(place, monkeypatch, capsys):
    assert main(["pretrain", "--data", "text.txt", "--preset", "gpt2", "--steps", "2", "--out", "base", *SMALL]) == 0
    words = ["--data", "text.txt", "--steps", "6", "--length", "16", "--batch-size", "4"]
    assert main(["pretrain", "--from", "base", "--out", "whole", *words]) == 0
    with monkeypatch.context() as patched:
        interrupt_at(patched, 3)
        capsys.readouterr()
        assert main(["pretrain", "--from", "base", "--out", "run", *words]) == 75
    said = capsys.readouterr().err
    assert "error" not in said and "it is saved" in said
    (place / "base").rename(place / "moved")
    (place / "text.txt").rename(place / "renamed.txt")
    assert main(["pretrain", "--resume", "--out", "run"]) == 0
    ours, theirs = (Transformer.from_pretrained(name).state_dict() for name in ("run", "whole"))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    more = ["--resume", "--out", "run", "--steps", "8", "--from", "moved"]
    assert main(["pretrain", *more, "--data", "renamed.txt"]) == 0
    assert read_experiment("run").data.paths == ("renamed.txt",)
    (place / "other.txt").write_text("another text", encoding="utf-8")
    assert main(["pretrain", *more, "--data", "other.txt"]) == 3
    assert "made from other text" in capsys.readouterr().err


def test_fine_tuning_goes_on_with_what_it_was_begun_with(place, monkeypatch, capsys):
    assert main(["pretrain", "--data", "text.txt", "--preset", "bert", "--steps", "2", "--out", "base", *SMALL]) == 0
    with monkeypatch.context() as patched:
        interrupt_at(patched, 2)
        words = ["sentiment", "--model", "base", "--train", "train.tsv", "--batch-size", "16", "--lr", "1e-4"]
        assert main(["finetune", *words, "--out", "run"]) == 75
    (place / "base").rename(place / "moved")
    (place / "train.tsv").rename(place / "renamed.tsv")
    capsys.readouterr()
    assert main(["finetune", "--resume", "--out", "run"]) == 3
    assert "train.tsv does not exist" in capsys.readouterr().err
    there = ["--train", "renamed.tsv", "--model", "moved"]
    assert main(["finetune", "--resume", "--out", "run", *there]) == 0
    experiment = read_experiment("run", FineTuning)
    assert experiment.training.batch_size == 16 and experiment.training.optimizer.lr == 1e-4
    assert [row["step"] for row in read_metrics(place / "run")][-1] > 2
