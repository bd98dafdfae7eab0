"""What a command needs is said at once, what it does not need is chosen, and a slip of the pen finds what was meant."""

import json

import pytest

from trifold.cli import finetune, plan, pretrain, search
from trifold.cli.main import COMMANDS, main
from trifold.cli.option import ELSEWHERE


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIFOLD_LANG", "en")
    return tmp_path


def test_all_that_is_missing_or_wrong_is_said_at_once(place, capsys):
    words = ["finetune", "sentiment", "--train", "none.tsv", "--epohs", "3", "--lr", "fast", "--model", "none"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n  - ") == 4
    assert all(part in said for part in ("none.tsv does not exist", "'--epochs'?", "--lr = 'fast'", "no folder none"))
    assert not any(place.iterdir())


@pytest.mark.parametrize(
    ("words", "missing"),
    [(["pretrain"], "--data"), (["finetune"], "task, --train"), (["sweep"], "task, --train"), (["config"], "--data"),
     (["plan"], "--data"), (["pretrain", "--resume"], "--out"), (["finetune", "--resume"], "--out")],
)  # fmt: skip
def test_what_is_missing_is_named_as_it_is_typed(place, capsys, words, missing):
    assert main(words) == 2
    assert f"needs {missing}. " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["pretrain", "--data", "none.txt"], ["finetune", "sentiment", "--train", "none.tsv"], ["plan", "--data", "none"],
     ["pretrain", "--data", "here.txt", "--valid", "none.txt"],
     ["finetune", "tagging", "--train", "here.txt", "--dev", "none"],
     ["sweep", "sentiment", "--train", "none.tsv"], ["compare-families", "none.tsv"]],
)  # fmt: skip
def test_a_missing_file_is_noticed_before_anything_is_begun(place, capsys, words):
    (place / "here.txt").write_text("a text", encoding="utf-8")
    assert main(words) == 3
    assert "does not exist" in capsys.readouterr().err
    assert [path.name for path in place.iterdir()] == ["here.txt"]


def test_a_text_is_enough_to_pretrain_and_each_run_has_a_folder_of_its_own(place, capsys):
    (place / "my novel.v1.txt").write_text("it rains and it pours. " * 300, encoding="utf-8")
    words = ["pretrain", "--data", "my novel.v1.txt", "--steps", "2", "--length", "16", "--vocab-size", "300"]
    for name in ("my novel", "my novel-2"):
        assert main(words) == 0
        assert (place / "runs" / name / "model.safetensors").is_file()
        assert f"runs/{name};" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "rows", "preset"),
    [("sentiment", [{"text": f"{w} film", "label": w} for w in ("good", "bad")], "bert"),
     ("translation", [{"source": "rain", "target": "Regen"}, {"source": "sun", "target": "Sonne"}], "vaswani"),
     ("generation", [{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d"}], "llama")],
)  # fmt: skip
def test_examples_are_enough_to_finetune(place, capsys, task, rows, preset):
    (place / "train.jsonl").write_text("\n".join(map(json.dumps, rows * 20)), encoding="utf-8")
    assert main(["finetune", task, "--train", "train.jsonl", "--steps", "1", "--vocab-size", "300"]) == 0
    assert f"{preset} starts from random weights" in capsys.readouterr().err
    assert (place / "runs" / task / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["pretrain", "--learning-rate", "1"], "--lr"), (["finetune", "--learning_rate", "1"], "--lr"),
     (["pretrain", "--epochs", "3"], "--steps"), (["finetune", "--lerning-rate", "1"], "--lr"),
     (["index", "search", "kb", "q", "--n", "3"], "--k"), (["fill-mask", "r", "--n", "3"], "--top-k"),
     (["generate", "r", "--max-new-tokens", "3"], "--max-tokens"), (["generate", "r", "--num-beams", "3"], "--beams")],
)  # fmt: skip
def test_options_of_other_tools_find_ours(place, capsys, words, meant):
    assert main(words) != 0
    assert f"Did you mean '{meant}'?" in capsys.readouterr().err


def test_what_options_are_called_elsewhere_leads_to_options_that_there_are():
    known = {option.name for command in COMMANDS for option in command.options}
    assert {name for options in ELSEWHERE.values() for name in options} <= known


@pytest.mark.parametrize(
    "words",
    [["generate", "runs/mien", "--prompt", "x"], ["evaluate", "mine", "--data", "x"], ["report", "runs/mien"],
     ["classify", "rusn/mine", "x"], ["fill-mask", "runs/mne", "--text", "x"],
     ["pretrain", "--data", "a", "--from", "runs/m1ne"],
     ["finetune", "sentiment", "--train", "a", "--model", "runs/mien"], ["pretrain", "--resume", "--out", "runs/mien"],
     ["tokenizer", "report", "a", "--tokenizer", "runs/mien"], ["convert", "runs/mien", "there"]],
)  # fmt: skip
def test_a_mistyped_run_names_the_nearest_and_not_the_network(place, capsys, words):
    (place / "runs" / "mine" / "checkpoints").mkdir(parents=True)
    (place / "a").write_text("text", encoding="utf-8")
    assert main(words) == 4
    said = capsys.readouterr().err
    assert "nearest is runs/mine" in said


def test_the_commands_that_train_say_what_they_need():
    assert all(module.COMMAND.problems is not None for module in (finetune, plan, pretrain)) and search.SWEEP.problems
