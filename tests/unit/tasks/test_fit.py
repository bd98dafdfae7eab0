"""What a translator from random weights is, and how long it learns, follows from its pairs; what is said is kept."""

from typing import Any

import pytest

from trifold.config import to_json
from trifold.data.rows import Row
from trifold.errors import DataError
from trifold.tasks import Translation, fit
from trifold.tasks.experiment import TRAINING
from trifold.tasks.finetune import Work
from trifold.tasks.fit import Pairs, count_pairs, fit_tuning
from trifold.training.timing import StepTime

MULTI30K = Pairs(count=29_000, num_bytes=3_900_000)


def fitted(pairs: Pairs = MULTI30K, kind: str = "translation", **sections: Any) -> Any:
    return fit_tuning({"model": {"preset": "vaswani"}, "task": {"kind": kind}, **sections}, pairs)


def test_without_a_length_fewer_pairs_are_read_more_often():
    epochs = [fitted(Pairs(count, 130 * count)).experiment.epochs for count in (200, 5_000, 29_000, 10**6)]
    assert epochs == [40.0, 40.0, 12.1, 3.0]


def test_more_pairs_get_a_larger_model_a_larger_vocabulary_and_less_dropout():
    few, many = fitted(Pairs(500, 60_000)).experiment, fitted(Pairs(2 * 10**6, 2 * 10**8)).experiment
    for name in ("num_layers", "d_model", "d_ff"):
        assert few.model.overrides[name] < many.model.overrides[name]
    assert few.tokenizer.vocab_size < many.tokenizer.vocab_size and few.training.batch_size < many.training.batch_size
    assert few.model.overrides["dropout"] > many.model.overrides["dropout"] == 0.05


@pytest.mark.parametrize("seconds", [0.1, 0.5, 5.0])
def test_a_length_in_minutes_is_kept_and_more_steps_in_it_allow_a_larger_model(monkeypatch, seconds):
    monkeypatch.setattr(fit, "time_step", lambda *_: StepTime(free=seconds, now=seconds))
    found = fitted(training={"minutes": 25.0})
    wide = {0.1: 192, 0.5: 192, 5.0: 128}[seconds]  # more would be too large for these pairs
    assert found.experiment.epochs is None and found.experiment.training.minutes == 25.0
    assert found.experiment.training.steps is None and found.experiment.model.overrides["d_model"] == wide
    assert f"{round(1500 / seconds):,} steps" in found.notes[0]


def test_what_is_said_is_kept():
    said = {
        "model": {"preset": "t5", "size": "mini", "overrides": {"dropout": 0.3}},
        "tokenizer": {"vocab_size": 500},
        "training": {"batch_size": 7, "optimizer": {"lr": 0.02}, "evaluate_every": 3, "seed": 5},
        "epochs": 2.0,
        "patience": 1,
    }
    experiment = fitted(**said).experiment
    assert experiment.model.overrides == {"dropout": 0.3} and experiment.model.size == "mini"
    assert (experiment.tokenizer.vocab_size, experiment.epochs, experiment.patience) == (500, 2.0, 1)
    training = experiment.training
    assert (training.batch_size, training.evaluate_every, training.seed, training.optimizer.lr) == (7, 3, 5, 0.02)
    assert fitted(training={"optimizer": {"kind": "adamw"}}).experiment.training.optimizer.kind == "adamw"


@pytest.mark.parametrize("preset", ["gpt2", "llama", "t5", "bart", "vaswani"])
def test_every_family_that_writes_gets_a_shape_of_its_own_kind(preset):
    experiment = fitted(model={"preset": preset}).experiment
    assert experiment.model.preset == preset and experiment.model.overrides["d_model"] >= 128


def test_other_tasks_and_other_starts_train_as_usual():
    found = fitted(kind="classification", training={"batch_size": 8})
    usual = {name: value for name, value in to_json(TRAINING).items() if name != "batch_size"}
    assert usual.items() <= to_json(found.experiment.training).items() and found.notes == ()
    started = fitted(model={"start": "runs/t5"}).experiment
    assert started.training == TRAINING and started.epochs == 3.0


def test_only_what_the_task_reads_is_counted():
    rows = [
        Row({"id": "x" * 99, "en": "a dog", "de": "ein Hund"}, "a.tsv:1"),
        Row({"id": "y", "en": None, "de": "狗"}, "a.tsv:2"),
    ]
    named = {"source": "en|id", "target": "de"}
    assert count_pairs(rows, Translation.roles, {"source": "en", "target": "de"}) == Pairs(2, 16)
    assert count_pairs(rows, Translation.roles, named) == Pairs(2, 17)  # the second row has no `en`
    with pytest.raises(DataError, match="no column for 'source'"):
        count_pairs([Row({"a": "x", "b": "y"}, "a.tsv:1")], Translation.roles, {})


def test_standard_input_is_not_read_before_the_run_reads_it(monkeypatch):
    monkeypatch.setattr(fit, "read_rows", None)
    found = fit_tuning({"model": {"preset": "vaswani"}, "task": {"kind": "translation"}, "data": {"train": "-"}})
    assert "standard input" in found.notes[0] and found.experiment.epochs == fit.UNKNOWN.readings


@pytest.mark.parametrize(
    ("losses", "best", "fallen"),
    [
        ({10: 4.0, 20: 3.0, 30: 2.6, 40: 2.5}, 40, 0.5),
        ({0: 6.0, 10: 4.0, 20: 3.0, 30: 2.6, 40: 2.7}, 30, 0.0),  # it was best before its end
        ({10: 4.0, 20: 2.51, 30: 2.5, 40: 2.5}, 40, 0.0),  # hardly any more
        ({0: 4.0, 1: 2.0}, 1, 0.0),  # nothing was measured in the middle
        ({}, 40, 0.0),
        ({10: 4.0, 20: 3.0}, None, 0.0),  # nothing chose
    ],
)
def test_a_run_that_still_gets_better_when_it_ends_is_known(losses, best, fallen):
    work = Work(lambda _: None)
    work.losses = losses
    assert work.still_falling(best) == pytest.approx(fallen)
