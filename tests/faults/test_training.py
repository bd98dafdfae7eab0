"""Accidents while a run trains: bad steps, too little memory, signals, a full disk; nothing learned is lost."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.applications.test_runs import call, write_text
from tests.unit.training.test_trainer import NextToken, Rows, assert_same, make_model, make_trainer, weights
from trifold.batch import Loss
from trifold.checkpoint import checkpoints, newest, verify
from trifold.errors import CapacityError, ConfigError, NonFiniteError, PreemptedError, StorageError
from trifold.training import AdamW, Muon, pretrain, read_experiment
from trifold.training import save as save_module
from trifold.training.save import Saver, load_checkpoint

TINY = ("--preset", "gpt2", "--document", "line", "--overrides", "num_layers=1", "d_model=16", "num_heads=2",
        "--kind", "character", "--vocab-size", 128, "--length", 32, "--batch-size", 4)  # fmt: skip


class Broken(NextToken):
    """Gives a bad loss for some batches, known by their first token's place in the stream."""

    def __init__(self, bad, factor=float("nan")):
        self.bad, self.factor, self.calls = set(bad), factor, 0

    def loss(self, model, batch):
        loss = super().loss(model, batch)
        number, self.calls = self.calls, self.calls + 1
        return Loss(loss.sum * self.factor, loss.weight) if number in self.bad else loss


@pytest.fixture
def text(tmp_path):
    return write_text(tmp_path / "text.txt")


# -- A20: bad steps


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e3])
def test_a20_a_bad_step_is_left_out_and_moves_nothing(factor):
    trainer = make_trainer(steps=40, on_bad_step="skip", spike=50.0, clip=None)
    trainer.objective = Broken([20], factor)
    steps = trainer.steps()
    for _ in range(20):
        next(steps)
    before = weights(trainer)
    with pytest.warns(UserWarning, match=r"Step 21 is left out.*'place': 20"):
        bad = next(steps)
    assert bad.skipped
    assert_same(weights(trainer), before)
    assert [step.step for step in steps] == list(range(22, 41))


def test_a20_three_in_a_row_stop_the_run_and_name_the_batches():
    trainer = make_trainer(steps=40, on_bad_step="skip")
    trainer.objective = Broken([4, 5, 6])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(NonFiniteError, match=r"Step 7.*'place': 6"):
            list(trainer.steps())
    assert trainer.step == 6 and len(trainer.suspect) == 1


def test_a20_spikes_are_only_looked_for_where_they_are_asked_for():
    trainer = make_trainer(steps=30)
    trainer.objective = Broken([20], 1e4)
    assert [step.skipped for step in trainer.steps()] == [False] * 30


def failing(plain, when):
    """A trainer whose loss is no number where `when` says so."""

    class Failing(plain):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            is_good = self.bad_steps.is_good
            self.bad_steps.is_good = lambda *, loss, norm: is_good(loss=math.nan if when(self) else loss, norm=norm)

    return Failing


def test_a20_a_bad_step_ends_the_command_with_code_6_and_its_batches_are_kept(tmp_path, text, capsys, monkeypatch):
    from trifold.training import pretraining

    monkeypatch.setattr(pretraining, "Trainer", failing(pretraining.Trainer, lambda trainer: trainer.step == 5))
    run = tmp_path / "run"
    code, _, err = call(
        capsys, "pretrain", "--data", text, *TINY, "--steps", 9, "--out", run, "training.checkpoint_every=2"
    )
    assert code == 6 and "Step 6" in err and "on_bad_step" in err
    assert [folder.name for folder in checkpoints(run / "checkpoints")] == ["step-00000004", "step-00000005"]
    with safe_open(run / "bad-step-00000006.safetensors", framework="pt") as file:
        assert "0.target" in file.keys() and "batch" in file.metadata()["place"]  # noqa: SIM118
    monkeypatch.undo()
    code, _, err = call(capsys, "pretrain", "--out", run, "--resume")
    assert code == 0, err


def test_a20_rolling_back_goes_to_the_last_checkpoint_and_on_with_other_batches(tmp_path, text, capsys, monkeypatch):
    from trifold.training import pretraining

    bad = []

    def hit(trainer):
        here = trainer._place["batch"] == 5 and trainer._place["sample"] == 0
        bad.extend([trainer.step] if here else [])
        return here

    monkeypatch.setattr(pretraining, "Trainer", failing(pretraining.Trainer, hit))
    run = tmp_path / "run"
    with pytest.warns(UserWarning, match="Going back to step 4"):
        code, _, err = call(capsys, "pretrain", "--data", text, *TINY, "--steps", 9, "--out", run,
                            "training.checkpoint_every=2", "training.on_bad_step=rollback",
                            "training.log_every=1")  # fmt: skip
    assert code == 0 and bad == [5], err
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 10))


def test_a20_without_a_checkpoint_to_go_back_to_the_run_stops(tmp_path, text, capsys, monkeypatch):
    from trifold.training import pretraining

    monkeypatch.setattr(pretraining, "Trainer", failing(pretraining.Trainer, lambda _: True))
    code, _, err = call(capsys, "pretrain", "--data", text, *TINY, "--steps", 3, "--out", tmp_path / "run",
                        "training.on_bad_step=rollback")  # fmt: skip
    assert code == 6 and "Step 1" in err


# -- A21: too little memory


class Small(NextToken):
    """A machine that holds so many rows at once, and fails in the forward pass or in the middle of the backward one."""

    def __init__(self, most, kind):
        self.most, self.kind = most, kind

    def loss(self, model, batch):
        loss = super().loss(model, batch)
        if batch.num_rows <= self.most:
            return loss
        error = (
            MemoryError()
            if self.kind == "python"
            else RuntimeError("DefaultCPUAllocator: can't allocate memory: 7 bytes")
        )
        if self.kind != "backward":
            raise error

        def fail(_):
            raise error

        hidden = model(batch)
        hidden.register_hook(fail)
        return Loss(loss.sum + 0 * hidden.sum(), loss.weight)


@pytest.mark.parametrize("kind", ["python", "forward", "backward"])
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a21_with_too_little_memory_rows_are_halved_and_the_gradient_is_the_same(kind, accumulation, dtype):
    options = {"accumulation": accumulation, "dtype": dtype, "steps": 2, "optimizer": AdamW(lr=1e-2, eps=1.0)}
    whole, small = make_trainer(**options), make_trainer(**options)
    small.objective = Small(1, kind)
    with pytest.warns(UserWarning, match="rows at once"):
        found = list(small.steps())
    exact = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 1e-2}[dtype]
    for one, other in zip(found, whole.steps(), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=max(exact, 1e-12))
        assert one.tokens == other.tokens
    assert_same(weights(small), weights(whole), exact)


def test_a21_not_even_one_row_is_a_clear_error_and_nothing_has_moved():
    trainer = make_trainer()
    before = weights(trainer)
    trainer.objective = Small(0, "forward")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(CapacityError, match="12 places"):
            list(trainer.steps())
    assert_same(weights(trainer), before)


def test_a21_another_error_is_not_taken_for_too_little_memory():
    class Wrong(NextToken):
        def loss(self, model, batch):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    trainer = make_trainer()
    trainer.objective = Wrong()
    with pytest.raises(RuntimeError, match="mat1"):
        list(trainer.steps())


def test_a21_a_failure_in_the_middle_of_the_optimizers_step_is_not_saved(tmp_path, text, capsys, monkeypatch):
    from trifold.training import trainer as trainer_module

    plain = trainer_module.Trainer._move

    def fail(self):
        if self.step == 3:
            self.is_whole = False
            raise MemoryError
        plain(self)

    monkeypatch.setattr(trainer_module.Trainer, "_move", fail)
    run = tmp_path / "run"
    code, _, err = call(
        capsys, "pretrain", "--data", text, *TINY, "--steps", 9, "--out", run, "training.checkpoint_every=2"
    )
    assert code == 2 and "memory" in err.lower()
    assert [folder.name for folder in checkpoints(run / "checkpoints")] == ["step-00000002"]


# -- A22, A12: inside a step


def dropping(trainer):
    """The trainer of a model with dropout."""
    for part in trainer.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.2
    return trainer


@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-2), Muon()], ids=["adamw", "muon"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("deterministic", [False, True])
def test_a12_a_step_that_was_broken_off_goes_on_where_it_was(optimizer, dtype, passes, deterministic):
    options = {"optimizer": optimizer, "dtype": dtype, "accumulation": 3, "spike": 100.0, "steps": 4,
               "deterministic": deterministic}  # fmt: skip
    whole = dropping(make_trainer(**options))
    losses = [step.loss for step in whole.steps()]

    class Stop(Exception):
        pass

    def stop():
        if first.step == 2 and first.partial.passes == passes:
            raise Stop

    first = dropping(make_trainer(**options))
    first.between = stop
    with pytest.raises(Stop):
        list(first.steps())
    tensors, numbers = first.state()
    tensors, saved = {name: value.clone() for name, value in tensors.items()}, weights(first)
    second = dropping(make_trainer(make_model(seed=9), **options))
    with torch.no_grad():
        for name, value in second.weights.exact.items():
            value.copy_(saved[name])
    second.weights.refresh()
    torch.manual_seed(1234)  # a later process comes with other dice
    second.load_state(tensors, json.loads(json.dumps(numbers)))
    assert second.partial.passes == passes
    assert [step.loss for step in second.steps()] == losses[2:]
    assert_same(weights(second), weights(whole))
    assert second.state()[1]["recent"] == whole.state()[1]["recent"]


# -- A5, A13, A16


def make_run(tmp_path, text, capsys, *more):
    run = tmp_path / "run"
    code, _, err = call(capsys, "pretrain", "--data", text, *TINY, "--steps", 4, "--out", run, *more)
    assert code == 0, err
    return run


def test_a5_a_disk_too_small_for_the_checkpoints_is_refused_before_the_first_step(tmp_path, text, capsys, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5000))
    code, _, err = call(capsys, "pretrain", "--data", text, *TINY, "--steps", 4, "--out", tmp_path / "run")
    assert code == 5 and "5,000 bytes free" in err and "are missing" in err
    assert not (tmp_path / "run").exists()


def test_a13_what_changed_is_refused_by_name_or_allowed_and_written_down(tmp_path, text, capsys):
    run = make_run(tmp_path, text, capsys, "training.checkpoint_every=2")
    for change in ("training.batch_size=8", "training.seed=3", "training.dtype=float64", "training.clip=2.0"):
        code, _, err = call(capsys, "pretrain", "--out", run, "--resume", change)
        assert code == 2 and change.partition("=")[0] in err and "--allow-change" in err
    words = (
        "pretrain",
        "--out",
        run,
        "--resume",
        "training.clip=2.0",
        "training.steps=6",
        "--allow-change",
        "training.clip",
    )
    code, _, err = call(capsys, *words)
    assert code == 0, err
    assert json.loads((run / "trifold.json").read_text())["changes"][0] == {"training.clip": "1.0 -> 2.0"}
    assert read_experiment(run).training.clip == 2.0
    assert verify(newest(run / "checkpoints"))["allowed"] == ["training.clip"]


def test_a13_other_circumstances_are_refused_by_name_or_allowed(tmp_path, text, capsys, monkeypatch):
    run = make_run(tmp_path, text, capsys)
    monkeypatch.setattr(
        save_module, "environment", lambda _, plain=save_module.environment: {**plain(_), "threads": 99}
    )
    code, _, err = call(capsys, "pretrain", "--out", run, "--resume", "training.steps=6")
    assert code == 2 and "-> 99" in err and "--allow-change threads" in err
    code, _, err = call(capsys, "pretrain", "--out", run, "--resume", "training.steps=6", "--allow-change", "threads")
    assert code == 0, err


def test_a_damaged_checkpoint_is_passed_over_or_refused_when_strict(tmp_path, text, capsys):
    run = make_run(tmp_path, text, capsys, "training.checkpoint_every=2")
    damaged = checkpoints(run / "checkpoints")[-1] / "training.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    code, _, err = call(capsys, "pretrain", "--out", run, "--resume", "--strict")
    assert code == 4 and "training.safetensors" in err
    with pytest.warns(UserWarning, match="Falling back"):
        assert call(capsys, "pretrain", "--out", run, "--resume")[0] == 0


def saver_of(trainer, root):
    from trifold.presets.pretrained import Transformer
    from trifold.text import train_tokenizer

    tokenizer = train_tokenizer(["to be or not to be"], kind="character", vocab_size=29, num_sentinels=2)
    model = Transformer.from_preset("gpt2", size="tiny", vocab_size=29, num_layers=1, d_model=16, num_heads=2)
    other = make_trainer(model, Rows(), **trainer)
    return other, Saver(root, other, tokenizer)


def test_a16_what_is_saved_in_the_background_is_the_state_of_that_moment(tmp_path, monkeypatch):
    trainer, saver = saver_of({"steps": 9, "dtype": "float32"}, tmp_path)
    plain = save_module.publish

    def slow(*given, **more):
        time.sleep(0.3)
        plain(*given, **more)

    monkeypatch.setattr(save_module, "publish", slow)
    steps = trainer.steps()
    next(steps)
    expected, state = weights(trainer), {name: value.clone() for name, value in trainer.state()[0].items()}
    saver.save()
    next(steps), next(steps)
    with torch.no_grad():
        for value in trainer.weights.exact.values():
            value.fill_(7.0)
    saver.finish()
    again, _ = saver_of({"steps": 9, "dtype": "float32"}, tmp_path / "other")
    load_checkpoint(tmp_path, again)
    assert again.step == 1
    assert_same(weights(again), expected)
    assert_same(again.state()[0], state)


def test_a_checkpoint_that_is_loaded_is_what_the_model_computes_with(tmp_path):
    options = {"steps": 9, "dtype": "bfloat16"}
    trainer, saver = saver_of(options, tmp_path)
    next(trainer.steps())
    saver.save()
    saver.finish()
    again, _ = saver_of(options, tmp_path / "other")
    with torch.no_grad():
        for value in again.model.parameters():
            value.zero_()
    load_checkpoint(tmp_path, again)
    for one, other in zip(again.model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a16_a_failure_in_the_background_is_told_at_the_next_step(tmp_path, monkeypatch):
    trainer, saver = saver_of({"steps": 9}, tmp_path)

    def fail(*_, **__):
        raise StorageError("checkpoint.disk_failed", path="x", problem="gone")

    monkeypatch.setattr(save_module, "publish", fail)
    next(trainer.steps())
    saver.save()
    saver._thread.join()
    with pytest.raises(StorageError, match="gone"):
        saver.check()


@pytest.mark.parametrize("background", [True, False])
def test_a6_a_save_that_fails_in_a_way_nobody_thought_of_is_no_success(tmp_path, monkeypatch, background):
    trainer, saver = saver_of({"steps": 9, "save_in_background": background}, tmp_path)

    def fail(*_, **__):
        raise ValueError("a fault of ours")

    monkeypatch.setattr(save_module, "publish", fail)
    next(trainer.steps())
    with pytest.raises(ValueError, match="a fault of ours"):
        saver.save()
        saver.finish()


def test_a4_a_full_disk_stops_the_run_or_not_as_it_was_told(tmp_path, text, capsys, monkeypatch):
    plain, calls = save_module.publish, []

    def full(folder, *given, **more):
        calls.append(folder.name)
        if folder.name == "step-00000004":
            raise StorageError("checkpoint.disk_full", path=folder, free=1, needed=2)
        plain(folder, *given, **more)

    monkeypatch.setattr(save_module, "publish", full)
    words = ("pretrain", "--data", text, *TINY, "--steps", 8, "training.checkpoint_every=2")
    code, _, err = call(capsys, *words, "--out", tmp_path / "stops")
    assert code == 5 and "2 bytes are needed, 1 are free" in err
    assert checkpoints(tmp_path / "stops" / "checkpoints")[0].name == "step-00000002"
    with pytest.warns(UserWarning, match="goes on without"):
        code, _, err = call(capsys, *words, "training.on_full_disk=go_on", "--out", tmp_path / "goes_on")
    assert code == 0, err
    assert [folder.name for folder in checkpoints(tmp_path / "goes_on" / "checkpoints")] == [
        "step-00000006",
        "step-00000008",
    ]


# -- A17: signals


def start(tmp_path, text, *more):
    run = tmp_path / "run"
    words = [sys.executable, "-m", "trifold", "pretrain", "--data", str(text), *map(str, TINY), "--steps", "100000",
             "--out", str(run), "training.accumulation=4", *more]  # fmt: skip
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while time.monotonic() < end and not _has_steps(run / "metrics.jsonl"):
        time.sleep(0.02)
    return run, child


def _has_steps(log):
    return log.exists() and '"loss"' in log.read_text(encoding="utf-8")


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@pytest.mark.parametrize(
    "number", [SIGNALS[0], *(pytest.param(other, marks=pytest.mark.slow) for other in SIGNALS[1:])]
)
def test_a17_a_signal_saves_the_run_and_ends_it_with_code_75(tmp_path, text, number):
    run, child = start(tmp_path, text)
    child.send_signal(number)
    said = child.communicate(timeout=30)[1]
    assert child.returncode == 75 and signal.Signals(number).name in said and "--resume" in said
    assert len(said.strip().splitlines()[-1]) < 200 and "Traceback" not in said
    assert newest(run / "checkpoints") is not None


def test_a17_a_signal_during_a_save_waits_for_it_and_a_second_one_does_not(tmp_path, text):
    run, child = start(tmp_path, text, "training.checkpoint_every=1", "training.save_in_background=false")
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    assert child.returncode in (-signal.SIGTERM, 75)  # gone at once, unless it was faster
    assert verify(newest(run / "checkpoints"))


def test_a15_two_processes_do_not_train_in_one_folder(tmp_path, text, capsys):
    run, child = start(tmp_path, text)
    code, _, err = call(capsys, "pretrain", "--out", run, "--resume")
    child.kill()
    child.communicate()
    assert code == 2 and str(child.pid) in err


def interrupting(number):
    """A listener that sends the signal in the third step."""

    def interrupt(event):
        if event.step is not None and event.step.step == 3:
            os.kill(os.getpid(), number)

    return interrupt


@pytest.mark.parametrize("number", SIGNALS)
def test_a17_each_of_the_signals_saves_the_run_and_is_named(tmp_path, text, capsys, number):
    run = make_run(tmp_path, text, capsys)
    experiment = read_experiment(run)
    with pytest.raises(PreemptedError, match=signal.Signals(number).name) as ended:
        pretrain(replace(experiment, training=replace(experiment.training, steps=8)), tmp_path / "parts",
                 listen=interrupting(number))  # fmt: skip
    assert ended.value.exit_code == 75
    assert newest(tmp_path / "parts" / "checkpoints").name == "step-00000003"


def test_a_signal_in_the_middle_of_a_step_is_not_lost(tmp_path, text, capsys):
    call(capsys, "pretrain", "--data", text, *TINY, "--steps", 1, "--out", tmp_path / "first")
    experiment = read_experiment(tmp_path / "first")
    experiment = replace(experiment, training=replace(experiment.training, steps=8, accumulation=2))
    with pytest.raises(PreemptedError, match="SIGTERM"):
        pretrain(experiment, tmp_path / "parts", listen=interrupting(signal.SIGTERM))
    assert newest(tmp_path / "parts" / "checkpoints").name == "step-00000003"
    pretrain(experiment, tmp_path / "parts", resume=True)
    pretrain(experiment, tmp_path / "whole")
    one, other = (Path(tmp_path / name / "model.safetensors").read_bytes() for name in ("parts", "whole"))
    assert one == other


def test_other_settings_error_type(tmp_path, text, capsys):
    run = make_run(tmp_path, text, capsys)
    experiment = read_experiment(run)
    with pytest.raises(ConfigError, match="seed"):
        pretrain(replace(experiment, training=replace(experiment.training, seed=5)), run, resume=True)
