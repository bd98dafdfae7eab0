"""Whole runs through the command line: from text to a model, to text and back; stopped, resumed, refused."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.bounds import LAYERS, assert_same_sums
from trifold.cli.main import main
from trifold.data import plan_split
from trifold.errors import ConfigError, TrifoldError
from trifold.training import Experiment, ModelChoice, Training, pretrain, read_experiment
from trifold.training.log import read_metrics
from trifold.training.timing import StepTime

WORDS = "the cat sat on a mat and the dog ran to it 猫 坐 在 垫子 上 。 狗 跑 了 过来 。".split()


def write_text(path: Path, count: int = 400, seed: int = 0) -> Path:
    dice = np.random.default_rng(seed)
    path.write_text("\n".join(" ".join(dice.choice(WORDS, 12)) for _ in range(count)), encoding="utf-8")
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt")


def call(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


SMALL = (
    "--overrides",
    "num_layers=2",
    "d_model=32",
    "num_heads=2",
    "--vocab-size",
    420,
    "--length",
    32,
    "--batch-size",
    4,
)


@pytest.mark.parametrize("preset", ["gpt2", "llama", "bert", "modernbert", "t5", "vaswani"])
def test_pretrain_evaluate_and_use_each_family(tmp_path, text, capsys, preset):
    run = tmp_path / "run"
    code, out, err = call(capsys, "pretrain", "--preset", preset, "--data", text, "--out", run, "--document", "line",
                          "--steps", 12, *SMALL, "--json")  # fmt: skip
    assert code == 0, err
    result = json.loads(out)
    assert result["steps"] == 12 and result["valid"]["bits_per_byte"] > 0
    assert {"config.json", "model.safetensors", "tokenizer.json", "trifold.json", "metrics.csv", "metrics.jsonl"} <= {
        path.name for path in run.iterdir()
    }
    code, out, _ = call(capsys, "evaluate", run, "--data", text, "--document", "line", "--json")
    assert code == 0 and json.loads(out)["bits_per_byte"] > 0
    if preset in ("bert", "modernbert"):
        code, out, _ = call(capsys, "fill-mask", run, "--text", "the <mask> sat", "--json")
        assert code == 0 and len(json.loads(out)["masks"][0]) == 5
    elif preset in ("t5", "vaswani"):
        code, out, _ = call(capsys, "restore", run, "--text", "the <extra_id_0> sat", "--json")
        assert code == 0 and "sat" in json.loads(out)["text"]
    else:
        code, out, _ = call(capsys, "generate", run, "--prompt", "the cat", "--max-tokens", 8, "--seed", 1)
        assert code == 0 and out.startswith("the cat")
    code, out, _ = call(capsys, "convert", run, tmp_path / "copy")
    assert code == 0
    one, two = (load_file(folder / "model.safetensors") for folder in (run, tmp_path / "copy"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    if preset == "vaswani":
        call(capsys, "tokenizer", "train", text, "--vocab-size", 420, "--out", tmp_path / "own")
        code, _, err = call(capsys, "pretrain", "--preset", preset, "--data", text, "--out", tmp_path / "padded",
                            "--tokenizer", tmp_path / "own", "--document", "line", *SMALL, "--steps", 1)  # fmt: skip
        assert code == 0 and "padding is token" in err, err
    code, out, _ = call(capsys, "plan", run, "--json", "--no-measure")
    plan = json.loads(out)
    assert code == 0 and plan["parameters"] == result["num_parameters"]
    assert (
        plan["actual"]["steps"] == result["steps"] == plan["predicted"]["best_step"] == result["forecast"]["best_step"]
    )
    code, out, _ = call(capsys, "report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert code == 0 and "<svg" in page and "gram" in page and "http" not in page.replace("http-equiv", "")


def test_a1_a_run_that_stops_and_goes_on_is_the_run_that_never_stopped(tmp_path, text, capsys):
    words = ["pretrain", "--preset", "gpt2", "--data", text, "--document", "line", "--steps", 10, *SMALL]
    assert call(capsys, *words, "--out", tmp_path / "whole", "training.checkpoint_every=4")[0] == 0
    experiment = read_experiment(tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop_at_six(event):
        if event.step is not None and event.step.step == 6:
            raise Stop

    with pytest.raises(Stop):
        pretrain(experiment, tmp_path / "parts", listen=stop_at_six)
    names = [path.name for path in sorted((tmp_path / "parts" / "checkpoints").iterdir())]
    assert names == ["step-00000004", "step-00000006"]
    shutil.rmtree(tmp_path / "parts" / "checkpoints" / "step-00000006")  # as if the machine had died between the two
    code, _, err = call(capsys, "pretrain", "--out", tmp_path / "parts", "--resume")
    assert code == 0, err
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    whole, parts = (
        [(record["step"], record["loss"]) for record in read_metrics(tmp_path / name) if "loss" in record]
        for name in ("whole", "parts")
    )
    assert whole == parts


def test_resume_with_other_settings_is_refused_with_the_difference(tmp_path, text, capsys):
    words = ["pretrain", "--preset", "gpt2", "--data", text, "--steps", 2, *SMALL, "--out", tmp_path / "run"]
    assert call(capsys, *words)[0] == 0
    code, _, err = call(capsys, *words, "--resume", "--lr", 0.5)
    assert code == 2 and "optimizer.lr" in err
    write_text(text, seed=1)
    code, _, err = call(capsys, *words, "--resume")
    assert code == 3 and "other text" in err


REFUSED = {
    "empty corpus": (["--data", "{empty}", "--preset", "gpt2", "--steps", "2"], 3, "no text"),
    "missing file": (["--data", "{folder}/nowhere.txt", "--preset", "gpt2", "--steps", "2"], 3, "does not exist"),
    "bad preset": (["--data", "{text}", "--preset", "gpt", "--steps", "2"], 2, "Did you mean 'gpt2'"),
    "bad size": (["--data", "{text}", "--preset", "gpt2", "--size", "smal", "--steps", "2"], 2, "Did you mean 'small'"),
    "bad override": (
        ["--data", "{text}", "--preset", "gpt2", "--overrides", "num_layer=2", "--steps", "2"], 2, "num_layers"
    ),
    "two lengths": (["--data", "{text}", "--preset", "gpt2", "--steps", "2", "--tokens", "9"], 2, "exactly one of"),
    "too large": (["--data", "{text}", "--preset", "gpt2", "--overrides", "num_layers=1000", "d_model=16384",
                   "num_heads=16", "--steps", "2"], 2, "GiB"),
    "row too long": (["--data", "{text}", "--preset", "gpt2", "--length", "5000", "--steps", "2",
                      "--overrides", "max_length=1024"], 2, "1024"),
    "wrong objective": (["--data", "{text}", "--preset", "gpt2", "--objective", "masked", "--steps", "2"], 2, "encoder"),
    "existing run": (["--data", "{text}", "--preset", "gpt2", "--steps", "2", "--out", "{folder}"], 2, "exists already"),
    "unknown option": (["--data", "{text}", "--preset", "gpt2", "--step", "2"], 2, "--steps"),
    "unknown setting": (["--data", "{text}", "--preset", "gpt2", "--steps", "2", "--training.sed", "2"], 2, "seed"),
    "small vocabulary": (["--data", "{text}", "--preset", "gpt2", "--overrides", "vocab_size=50", "--steps", "2"], 2, "50"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_line(tmp_path, text, capsys, case):
    words, wanted, part = REFUSED[case]
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n\n", encoding="utf-8")
    words = [word.format(text=text, empty=empty, folder=tmp_path) for word in words]
    words += [] if "--out" in words else ["--out", str(tmp_path / "new" / "run")]
    words += [] if "too large" in case or "row" in case else ["--length", "32"]
    code, out, err = call(capsys, "pretrain", *words)
    assert (code, out) == (wanted, ""), err
    assert part in err and "Traceback" not in err
    assert not (tmp_path / "new" / "run").exists(), "the folder is free for the next try"


def test_a_corpus_smaller_than_one_row_trains(tmp_path, capsys):
    (tmp_path / "tiny.txt").write_text("only a few words here", encoding="utf-8")
    code, _, err = call(capsys, "pretrain", "--preset", "gpt2", "--data", tmp_path / "tiny.txt", "--out", tmp_path / "r",
                        "--steps", 2, *SMALL, "data.valid_fraction=0")  # fmt: skip
    assert code == 0, err


def test_standard_input_is_read_once_and_kept_for_all_that_comes_after(tmp_path, capsys, monkeypatch):
    class Stream:
        buffer = io.BytesIO("some words to learn from, again and again. 再来一次。\n".encode() * 50)

    monkeypatch.setattr(sys, "stdin", Stream())
    words = ["pretrain", "--preset", "gpt2", "--data", "-", "--out", tmp_path / "r", "--steps", 2, *SMALL]
    code, _, err = call(capsys, *words)
    assert code == 0, err
    code, _, err = call(capsys, "pretrain", "--out", tmp_path / "r", "--resume", "training.steps=3")
    assert code == 0, err


def test_configuration_files_and_overrides(tmp_path, text, capsys):
    code, out, _ = call(capsys, "config", "--preset", "gpt2", "--data", text, "--steps", 3, *SMALL)
    assert code == 0
    (tmp_path / "e.yaml").write_text(out, encoding="utf-8")
    code, out, err = call(capsys, "config", "--config", tmp_path / "e.yaml", "--training.seed", 7, "--json")
    assert code == 0, err
    assert json.loads(out)["training"]["seed"] == 7 and json.loads(out)["training"]["steps"] == 3


def test_tokenizer_commands(tmp_path, text, capsys):
    code, _, err = call(capsys, "tokenizer", "train", text, "--vocab-size", 420, "--out", tmp_path / "t")
    assert code == 0, err
    code, out, _ = call(capsys, "tokenizer", "report", text, "--tokenizer", tmp_path / "t", "--json")
    assert code == 0 and json.loads(out)["han"]["tokens"] > 0
    assert call(capsys, "tokenizer", "train", text, "--out", tmp_path / "t")[0] == 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_command_has_help_with_an_example(capsys, monkeypatch, language):
    from trifold.cli.main import COMMANDS

    monkeypatch.setenv("TRIFOLD_LANG", language)
    for command in COMMANDS:
        code, out, _ = call(capsys, *command.name.split(), "--help")
        assert code == 0 and f"trifold {command.name}" in out
        assert ("示例" if language == "zh" else "Example") in out


def test_help_and_import_need_no_torch():
    probe = "import sys, trifold, trifold.cli.main as m; m.main(['--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pretrain" in done.stdout


def test_tensorboard_and_gradient_checkpointing(tmp_path, text, capsys):
    pytest.importorskip("tensorboard")
    code, _, err = call(capsys, "pretrain", "--preset", "gpt2", "--data", text, "--out", tmp_path / "r", "--steps", 3,
                        *SMALL, "training.tensorboard=true", "training.gradient_checkpointing=true")  # fmt: skip
    assert code == 0, err
    assert any((tmp_path / "r" / "tensorboard").iterdir())


def test_a_roberta_of_our_own_tokenizer_gives_its_numbers_in_transformers_too(tmp_path, text, capsys):
    """Positions are counted from the padding id there, so an id that real text uses must not be taken for padding."""
    import transformers

    from trifold import Transformer
    from trifold.batch import Batch, Layout
    from trifold.text import Tokenizer

    run = tmp_path / "run"
    code, _, err = call(capsys, "pretrain", "--preset", "roberta", "--data", text, "--out", run, "--document", "line",
                        "--steps", 3, *SMALL)  # fmt: skip
    assert code == 0, err
    ours, theirs = (
        Transformer.from_pretrained(run).eval(),
        transformers.AutoModelForMaskedLM.from_pretrained(run).eval(),
    )
    pad = Tokenizer.from_pretrained(run).special.pad
    assert theirs.config.pad_token_id == pad
    tokens = torch.tensor([[token for token in range(24) if token != pad]])
    with torch.no_grad():
        made = ours.head(ours(Batch(source=tokens, source_layout=Layout.whole(1, tokens.shape[1]))))
        wanted = theirs(input_ids=tokens).logits
    assert_same_sums(made, wanted, terms=LAYERS * ours.config.d_model)


DIALS = {"num_layers": 1, "d_model": 16, "num_heads": 2}
TEXTS = [f"the cat number {number} sat on the mat" for number in range(60)]


def test_texts_of_a_program_are_kept_in_the_run_which_goes_on_with_the_same_ones(tmp_path):
    training = Training(steps=2, length=16, batch_size=2)
    start = Experiment(model=ModelChoice(preset="gpt2", overrides=DIALS), training=training)
    result = pretrain(start, tmp_path / "run", texts=(text for text in TEXTS))
    kept = (tmp_path / "run" / "given" / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in kept] == TEXTS and result.account["documents"] == 60
    longer = replace(training, steps=3)
    assert pretrain(start, tmp_path / "run", texts=TEXTS, training=longer, resume=True).steps == 3
    with pytest.raises(ConfigError, match="other rows"):
        pretrain(start, tmp_path / "run", texts=TEXTS[:-1], training=longer, resume=True)
    assert [path.name for path in (tmp_path / "run" / "given").iterdir()] == ["texts.jsonl"]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ("one text", "a list of texts"),
        (iter(("a", 3)), "number 2: int"),
        ([], "no text"),
        (None, "at least one path, or texts"),
    ],
)
def test_texts_that_are_none_are_refused_and_leave_no_folder(tmp_path, texts, said):
    with pytest.raises(TrifoldError, match=said):
        pretrain("gpt2", tmp_path / "run", texts=texts, training=Training(steps=1))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_that_was_there_stays_empty_where_a_run_fails_before_it_trains(tmp_path, linked):
    place = tmp_path / "run"
    (tmp_path / "disk" if linked else place).mkdir()
    if linked:
        place.symlink_to(tmp_path / "disk")
    for _ in range(2):  # the same folder may be tried again
        with pytest.raises(TrifoldError, match="no text"):
            pretrain("gpt2", place, texts=[], training=Training(steps=1))
        assert place.is_dir() and place.is_symlink() == linked and not list(place.iterdir())


def test_a_family_and_texts_are_enough(tmp_path):
    pretrain("bert", tmp_path / "mine", texts=TEXTS, training=Training(steps=1, length=16, batch_size=2))
    assert read_experiment(tmp_path / "mine").objective.kind == "masked"
    told = []
    result = pretrain("bert", tmp_path / "open", texts=iter(TEXTS), minutes=0.02, listen=told.append)
    chosen = read_experiment(tmp_path / "open")
    assert chosen.objective.kind == "masked" and chosen.model.attention == "neighbours"
    assert result.valid is not None and result.best_step <= result.steps
    assert any("bert tiny" in str(event.details) for event in told)
    again = pretrain("bert", tmp_path / "open", resume=True)
    assert again.steps == result.steps
    with pytest.raises(ConfigError, match="beside a training"):
        pretrain("bert", tmp_path / "two", texts=TEXTS, training=Training(steps=1), minutes=1)
    with pytest.raises(ConfigError, match="a list of texts"):
        pretrain("bert", tmp_path / "three", minutes=1)


def test_a_listener_that_fails_before_training_leaves_no_folder_and_one_that_fails_later_leaves_the_run(tmp_path):
    start = Experiment(
        model=ModelChoice(preset="gpt2", overrides=DIALS), training=Training(steps=3, length=16, batch_size=2)
    )

    def fail_at(stage):
        def listen(event):
            if event.stage == stage:
                raise ZeroDivisionError

        return listen

    with pytest.raises(ZeroDivisionError):
        pretrain(start, tmp_path / "run", texts=TEXTS, listen=fail_at("model"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ZeroDivisionError):
        pretrain(start, tmp_path / "run", texts=TEXTS, listen=fail_at("train"))
    assert pretrain(start, tmp_path / "run", texts=TEXTS, resume=True).steps == 3


EVALUATED = ("training.evaluate_every=10", "training.evaluate_rows=0", "data.valid_fraction=0.1", "--lr", 0.02)


def test_a_run_ends_with_the_weights_that_did_best_on_held_out_text(tmp_path, text, capsys):
    run = tmp_path / "run"
    write_text(text, count=60)
    code, out, err = call(capsys, "pretrain", "--preset", "gpt2", "--data", text, "--out", run, "--document", "line",
                          "--steps", 150, *SMALL, *EVALUATED)  # fmt: skip
    assert code == 0, err
    facts = json.loads((run / "trifold.json").read_text())["result"]
    losses = {record["step"]: record["valid_loss"] for record in read_metrics(run) if "valid_loss" in record}
    best = min(losses, key=lambda step: losses[step])
    assert facts["best_step"] == best < facts["steps"] == 150
    assert facts["valid"]["loss"] == pytest.approx(losses[best], rel=1e-3)
    assert f"weights of step {best}" in out and f"step {best}: held-out loss {losses[best]:.4f}" in out + err
    kept = load_file(run / "best" / f"step-{best:08d}" / "model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in load_file(run / "model.safetensors").items())
    assert f"(step {best})" in report_of(capsys, run)


def report_of(capsys, run: Path) -> str:
    assert call(capsys, "report", run)[0] == 0
    return (run / "report.html").read_text(encoding="utf-8")


def test_a_run_that_gains_nothing_more_stops_where_it_is_asked_to(tmp_path, text, capsys):
    run = tmp_path / "run"
    write_text(text, count=60)
    code, out, err = call(capsys, "pretrain", "--preset", "gpt2", "--data", text, "--out", run, "--document", "line",
                          "--steps", 400, *SMALL, *EVALUATED, "--patience", 3, "--json")  # fmt: skip
    assert code == 0, err
    result = json.loads(out)
    assert result["steps"] == result["best_step"] + 30 < 400


def test_the_same_words_and_resume_go_on_with_what_was_chosen(tmp_path, text, capsys, monkeypatch):
    words = [
        "pretrain",
        "--data",
        text,
        "--minutes",
        0.02,
        "--length",
        32,
        "--vocab-size",
        420,
        "--out",
        tmp_path / "run",
    ]
    assert call(capsys, *words)[0] == 0
    chosen = read_experiment(tmp_path / "run")
    monkeypatch.setattr(
        "trifold.training.fit.time_step", lambda *_: StepTime(1e-9, 1e-9)
    )  # as if the machine were another one
    code, _, err = call(capsys, *words, "--resume")
    assert code == 0, err
    assert read_experiment(tmp_path / "run") == chosen
    code, _, err = call(capsys, *words, "--resume", "--length", 16)
    assert code == 2 and "training.length" in err


def test_what_is_held_out_is_planned_once(tmp_path, text, capsys, monkeypatch):
    planned = []
    monkeypatch.setattr(
        "trifold.training.prepare.plan_split", lambda *given, **named: planned.append(1) or plan_split(*given, **named)
    )
    assert call(capsys, "pretrain", "--data", text, "--steps", 2, *SMALL, "--out", tmp_path / "run")[0] == 0
    assert len(planned) == 1


def test_the_tokenizer_does_not_learn_from_held_out_text(tmp_path, capsys):
    lines = ["the cat sat on the mat"] * 400
    lines[9::10] = ["zyzzyvas zyzzyvas"] * 40
    (tmp_path / "text.txt").write_text("\n".join(lines))
    run = tmp_path / "run"
    code, _, err = call(capsys, "pretrain", "--preset", "gpt2", "--data", tmp_path / "text.txt", "--out", run,
                        "--document", "line", "--steps", 2, *SMALL, "data.valid_fraction=0.1")  # fmt: skip
    assert code == 0, err
    assert "zyzzyvas" not in (run / "tokenizer.json").read_text()
