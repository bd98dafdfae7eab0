"""What a fine-tuning will take, how often it looks at dev examples, and that it ends where nothing is gained any more."""

from dataclasses import replace

import numpy as np
import pytest

from trifold import finetune
from trifold.errors import PreemptedError
from trifold.tasks import Classification, FineTuning, pace
from trifold.tasks.fit import PATIENCE, Pairs, fit_tuning
from trifold.tasks.pace import plan_tuning
from trifold.training import AdamW, ModelChoice, TokenizerChoice, Training, read_experiment
from trifold.training.log import read_metrics
from trifold.training.timing import StepTime

WORDS = [f"w{number}" for number in range(60)]
EXPERIMENT = FineTuning(
    model=ModelChoice(preset="bert", overrides={"num_layers": 1, "d_model": 32, "num_heads": 2, "dropout": 0.0}),
    tokenizer=TokenizerChoice(vocab_size=300),
    task=Classification(ngrams=0),
    training=Training(steps=400, batch_size=8, optimizer=AdamW(lr=3e-3), evaluate_every=0, checkpoint_every=10,
                      log_every=1),
    epochs=None,
    metric="loss",
    patience=None,
)  # fmt: skip


def rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts whose labels nobody can know: what is learned of them is learned by heart."""
    dice = np.random.default_rng(seed)
    return [(" ".join(dice.choice(WORDS, 8)), str(dice.choice(["yes", "no"]))) for _ in range(count)]


def lasting(experiment: FineTuning = EXPERIMENT, **training) -> FineTuning:
    length = {"steps": None, "tokens": None, "minutes": None} if "minutes" in training else {}
    return replace(experiment, training=replace(experiment.training, **length | training))


def files(tmp_path, count: int = 100, dev: int = 40) -> FineTuning:
    for name, number in (("train", count), ("dev", dev)):
        lines = ["text\tlabel", *("\t".join(row) for row in rows(number, seed=number))]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines), encoding="utf-8")
    data = replace(EXPERIMENT.data, train=str(tmp_path / "train.tsv"), dev=str(tmp_path / "dev.tsv"))
    return replace(EXPERIMENT, data=data)


def losses(run) -> dict[int, float]:
    return {entry["step"]: entry["valid_loss"] for entry in read_metrics(run) if "valid_loss" in entry}


def stop_after(steps: int):
    def stop(event):
        if event.step is not None and event.step.step == steps:
            raise PreemptedError("training.preempted", signal="test", step=steps)

    return stop


def test_a_run_that_learns_by_heart_stops_keeps_its_best_and_says_so(tmp_path):
    result = finetune(files(tmp_path), tmp_path / "run")
    seen = losses(tmp_path / "run")
    assert result.stopped_early and result.steps < 400 and result.best_step == min(seen, key=seen.get)
    assert sum(step > result.best_step for step in seen) == 8  # of 24 that the run would have had
    whole = finetune(replace(files(tmp_path), patience=0), tmp_path / "whole")
    assert not whole.stopped_early and whole.steps == 400


def test_a_run_that_goes_on_stops_where_it_would_have_stopped(tmp_path):
    whole = finetune(files(tmp_path), tmp_path / "whole")
    with pytest.raises(PreemptedError):
        finetune(files(tmp_path), tmp_path / "run", listen=stop_after(70))
    again = finetune(files(tmp_path), tmp_path / "run", resume=True)
    assert (again.steps, again.best_step, again.stopped_early) == (whole.steps, whole.best_step, True)
    assert again.judgement["metrics"] == whole.judgement["metrics"]
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"))


def test_looks_are_spread_over_minutes_and_take_a_tenth_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "time_batches", lambda *_, **__: StepTime(free=0.5, now=1.0))
    few, many = plan_tuning(lasting(files(tmp_path), minutes=1.0)), plan_tuning(lasting(files(tmp_path), minutes=50.0))
    assert (few.steps, many.steps) == (120, 6000)
    assert few.evaluations == 7 and few.evaluation_seconds == pytest.approx(7 * 40 / 8 * 0.5 / 3) and few.seconds == 60
    assert many.evaluations == 25 and many.evaluation_seconds < 0.1 * many.seconds
    large = plan_tuning(lasting(files(tmp_path, dev=3000), minutes=50.0, evaluate_rows=2000))
    assert large.evaluations == 10 and large.evaluation_seconds == pytest.approx(0.1 * large.seconds, rel=0.02)


def test_a_run_of_few_steps_in_its_minutes_looks_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "time_batches", lambda *_, **__: StepTime(free=0.01, now=0.3))
    asked = replace(lasting(files(tmp_path, dev=20), minutes=0.5), patience=0)
    with pytest.raises(PreemptedError):
        finetune(asked, tmp_path / "run", listen=stop_after(60))
    assert list(losses(tmp_path / "run")) == [10, 20, 30, 40, 50]  # a tenth of the 100 steps that there is time for


def test_patience_comes_with_a_length_that_nobody_gave_in_steps():
    def patience(**sections):
        return fit_tuning({"model": {"start": "runs/mine"}, **sections}).experiment.patience

    assert patience() is None and patience(training={"minutes": 5.0}) is None
    from_pairs = {"model": {"preset": "vaswani"}, "task": {"kind": "translation"}}
    pairs = Pairs(count=1000, num_bytes=60_000)
    assert fit_tuning({**from_pairs, "epochs": 2.0}, pairs).experiment.patience == 0
    assert fit_tuning(from_pairs, pairs).experiment.patience == PATIENCE
    assert patience(epochs=3.0) == 0 and patience(training={"steps": 50}) == 0 and patience(patience=2) == 2


def test_the_forecast_is_that_of_the_run(tmp_path):
    asked = replace(files(tmp_path), epochs=3.0)
    planned = plan_tuning(asked, measure=False)
    by_tokens = replace(asked, epochs=None, training=replace(asked.training, steps=None, tokens=100))
    assert plan_tuning(by_tokens, measure=False).steps == 13  # of 8 labels each
    assert planned.steps == 38 and planned.epochs == pytest.approx(3.04) and planned.seconds is None
    result = finetune(asked, tmp_path / "run")
    assert (
        result.forecast["steps"] == result.steps == 38 and min(result.forecast["memory"], planned.memory) > 450 * 2**20
    )
    assert result.forecast["parameters"] == pytest.approx(result.num_parameters, rel=0.05)
    assert read_experiment(tmp_path / "run", FineTuning) == asked


def test_a_plan_is_made_with_examples_of_all_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "PLANNED", 20)
    lines = ["text\tlabel", *(f"a {word} film, number {n}\t{word}" for word in ("dull", "good") for n in range(100))]
    (tmp_path / "sorted.tsv").write_text("\n".join(lines), encoding="utf-8")
    data = replace(EXPERIMENT.data, train=str(tmp_path / "sorted.tsv"))
    planned = plan_tuning(replace(EXPERIMENT, data=data, task=Classification(ngrams=2)), measure=False)
    assert planned.linear_seconds is not None and planned.epochs == pytest.approx(400 * 8 / 180, rel=0.05)
