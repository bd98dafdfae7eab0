"""What a run will take, before it begins."""

from dataclasses import replace

import pytest

from trifold.objective import config as objectives
from trifold.presets.pretrained import Transformer
from trifold.text import train_tokenizer
from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training
from trifold.training.fit import Text
from trifold.training.forecast import forecast, foresee
from trifold.training.prepare import shape_of

DIALS = {"num_layers": 1, "d_model": 16, "num_heads": 2, "max_length": 32}


def experiment(preset="gpt2", objective=None, paths=("-",), **training) -> Experiment:
    given = {"length": 32, "batch_size": 4, **training}
    return Experiment(model=ModelChoice(preset=preset, overrides=DIALS if preset != "t5" else {}),
                      tokenizer=TokenizerChoice(vocab_size=300), data=DataChoice(paths=paths),
                      objective=objective or objectives.Causal(), training=Training(**given))  # fmt: skip


def test_steps_follow_from_what_was_asked_for(tmp_path):
    by_steps = forecast(experiment(steps=10), measure=False)
    assert (by_steps.steps, by_steps.target_tokens) == (10, 10 * 32 * 4)
    by_tokens = forecast(experiment(tokens=1000, accumulation=2), measure=False)
    assert by_tokens.steps == 4 and by_tokens.step_flops == 2 * by_steps.step_flops
    by_time = experiment(minutes=0.5)
    assert forecast(by_time, measure=False).steps is None
    timed = forecast(by_time)
    assert timed.seconds == pytest.approx(30, abs=timed.step_seconds)
    assert timed.seconds_now == pytest.approx(timed.steps * timed.step_seconds_now)
    assert timed.tokens_per_second == pytest.approx(timed.target_tokens / timed.seconds)
    assert timed.steps == int(30 / timed.step_seconds)


@pytest.mark.parametrize(
    ("preset", "objective", "labels"),
    [
        ("bert", objectives.Masked(rate=0.25), 8),
        ("t5", objectives.Denoising(rate=0.15, mean_span=3.0), 10),
        ("gpt2", objectives.Causal(), 32),
    ],
)
def test_only_what_is_predicted_counts_as_a_target(preset, objective, labels):
    found = forecast(experiment(preset, objective, steps=1))
    assert found.target_tokens == labels * 4
    assert found.step_seconds > 0 and found.flops == found.step_flops > 0


def test_epochs_are_told_where_the_size_of_the_text_is_known(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("x" * 2000)
    asked = experiment(steps=100, paths=(str(tmp_path),))
    whole = forecast(asked, measure=False).epochs
    half = forecast(experiment(steps=100, paths=(str(tmp_path / "a.txt"),)), measure=False).epochs
    assert half == 2 * whole > 0
    (tmp_path / "c.txt.gz").touch()
    for unknown in ("-", "owner/name", str(tmp_path / "c.txt.gz")):
        assert forecast(replace(asked, data=DataChoice(paths=(unknown,))), measure=False).epochs is None


def test_the_shape_is_that_of_the_model_and_the_tokenizer_there_are(tmp_path):
    start = Transformer.from_preset("gpt2", size="tiny", vocab_size=77, num_layers=1)
    start.save_pretrained(tmp_path / "model")
    tokenizer = train_tokenizer(["some letters"], kind="character", vocab_size=128)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    asked = experiment(steps=1)
    begun = replace(asked, model=ModelChoice(start=str(tmp_path / "model")))
    assert forecast(begun, measure=False).parameters == sum(one.numel() for one in start.parameters())
    by_path = replace(asked, tokenizer=TokenizerChoice(path=str(tmp_path / "tokenizer")))
    known = forecast(asked, measure=False, tokenizer=tokenizer)
    assert forecast(by_path, measure=False).parameters == known.parameters < forecast(asked, measure=False).parameters


def test_a_run_is_timed_before_it_begins_where_it_is_long_enough():
    def foreseen(measure=True, **training):
        asked = experiment(**training)
        return foresee(asked, shape_of(asked), Text(10**6), measure=measure)

    long, short = foreseen(steps=200), foreseen(steps=20)
    assert long.seconds > 0 and long.tokens_per_second > 0
    assert (short.seconds, short.tokens_per_second) == (None, None)
    assert foreseen(steps=200, measure=False).seconds is None
    assert long.best_step == 200 and short.best_step == 20
