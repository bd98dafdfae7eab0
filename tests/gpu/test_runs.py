"""Whole runs on the device: pre-trained, broken off and gone on with, fine-tuned, opened again there and on the CPU."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trifold.generation import Sampling
from trifold.objective.config import Causal, Denoising, Masked
from trifold.tasks import Classification, load
from trifold.tasks.experiment import TRAINING, FineTuning, LabelledData
from trifold.tasks.finetune import finetune
from trifold.training import AdamW, DataChoice, Experiment, ModelChoice, TokenizerChoice, Training, pretrain
from trifold.training.loop import Event

WORDS = "the cat sat on a mat and the dog ran to it".split()
DIALS = {"num_layers": 2, "d_model": 32, "num_heads": 2}
"""With dropout, as the presets have it."""

GREEDY = Sampling(temperature=0.0, max_tokens=8)


def experiment(folder: Path, preset: str, objective: object, **changes: object) -> Experiment:
    """A short run on made-up lines."""
    dice = random.Random(0)
    text = folder / "text.txt"
    text.write_text(
        "\n".join(" ".join(dice.choices(WORDS, k=dice.randint(3, 20))) for _ in range(300)), encoding="utf-8"
    )
    settings = {
        "steps": 8,
        "length": 48,
        "batch_size": 4,
        "log_every": 1,
        "evaluate_every": 4,
        "checkpoint_every": 4,
        "dtype": "bfloat16",
        "optimizer": AdamW(lr=3e-3),
        **changes,
    }
    return Experiment(
        model=ModelChoice(preset=preset, overrides=DIALS),
        tokenizer=TokenizerChoice(vocab_size=420),
        data=DataChoice(paths=(str(text),), document="line", valid_fraction=0.1),
        objective=objective,
        training=Training(**settings),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("preset", "objective"), [("gpt2", Causal()), ("bert", Masked()), ("t5", Denoising())], ids=["gpt2", "bert", "t5"]
)
def test_a_run_that_is_broken_off_goes_on_bit_by_bit_and_its_model_opens_anywhere(preset, objective, device, tmp_path):
    class BrokenOffError(Exception):
        pass

    def break_off(event: Event) -> None:
        if event.step is not None and event.step.step == 5:
            raise BrokenOffError

    asked = experiment(tmp_path, preset, objective)
    whole = pretrain(asked, tmp_path / "whole")
    assert whole.valid is not None and np.isfinite(whole.valid.loss)
    with pytest.raises(BrokenOffError):
        pretrain(asked, tmp_path / "cut", listen=break_off)
    pretrain(asked, tmp_path / "cut", resume=True)
    here, there, cut = (
        load(tmp_path / run, device=place).model
        for run, place in (("whole", "cpu"), ("whole", device), ("cut", device))
    )
    wanted, resumed = dict(here.named_parameters()), dict(cut.named_parameters())
    for name, value in there.named_parameters():
        assert value.device == device and torch.equal(value.cpu(), wanted[name]) and torch.equal(value, resumed[name])


def test_what_was_trained_there_writes_the_same_on_both(device, tmp_path):
    pretrain(experiment(tmp_path, "llama", Causal()), tmp_path / "run")
    here, there, lean = (
        load(tmp_path / "run", **how) for how in ({}, {"device": device}, {"device": device, "precision": "bfloat16"})
    )
    texts = [one.generate("the cat", sampling=GREEDY)[0].text for one in (here, there)]
    assert texts[0] == texts[1]
    assert there.score("the cat", " sat") == pytest.approx(here.score("the cat", " sat"), abs=1e-4)
    assert lean.device == device and len(lean.generate("the cat", max_tokens=4)[0].ids) <= 4


@pytest.mark.parametrize("preset", ["bert", "gpt2"])
def test_a_classifier_is_tuned_there_and_answers_on_both(preset, device, tmp_path):
    dice = random.Random(1)
    rows = [
        (" ".join([*dice.choices(WORDS, k=6), word]), label)
        for _ in range(60)
        for word, label in (("good", "yes"), ("bad", "no"))
    ]
    table = tmp_path / "train.tsv"
    table.write_text("\n".join(["sentence\tlabel", *map("\t".join, rows)]), encoding="utf-8")
    training = replace(TRAINING, optimizer=AdamW(lr=5e-3), batch_size=16, dtype="bfloat16")
    asked = FineTuning(
        task=Classification(),
        model=ModelChoice(preset=preset, overrides=DIALS),
        epochs=4,
        training=training,
        tokenizer=TokenizerChoice(vocab_size=420),
        data=LabelledData(train=str(table)),
    )
    finetune(asked, tmp_path / "run")
    texts = ["the cat good", "a dog bad", "it sat on a mat good"]
    for precision in ("float32", "bfloat16", "int8"):
        here, there = (load(tmp_path / "run", device=place, precision=precision) for place in ("cpu", device))
        said = [[one.answer for one in model.classify(texts)] for model in (here, there)]
        assert said[0] == said[1] == ["yes", "no", "yes"]
