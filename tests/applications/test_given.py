"""Fine-tuning on what a program has in hand, without files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from trifold import Record, finetune, load, pretrain
from trifold.errors import ConfigError, TrifoldError
from trifold.tasks import Classification, LabelledData, Translation
from trifold.tasks.experiment import FineTuning
from trifold.training import ModelChoice, Training, read_experiment
from trifold.training.precision import find_device

MODEL = ModelChoice(preset="gpt2", overrides={"num_layers": 1, "d_model": 16, "num_heads": 2})
START = FineTuning(model=MODEL, training=Training(steps=2, batch_size=4), epochs=None)
PAIRS = [
    (f"{'good' if number % 2 else 'bad'} film number {number}", "yes" if number % 2 else "no") for number in range(40)
]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "train",
    [
        PAIRS,
        [{"review": text, "label": label} for text, label in PAIRS],
        [Record(text, label) for text, label in PAIRS],
        iter(PAIRS),
        [{"text": np.str_(text), "label": label} for text, label in PAIRS],
    ],
    ids=["pairs", "rows", "records", "iterator", "numpy"],
)
def test_examples_in_hand_are_trained_on_and_kept(tmp_path, train):
    result = finetune(START, tmp_path / "run", train=train, test=PAIRS[:8], task="sentiment")
    assert result.judgement["split"] == "test" and result.judgement["n"] == 8
    assert [tuple(row.values()) for row in lines(tmp_path / "run" / "given" / "train.jsonl")] == PAIRS
    assert load(tmp_path / "run").predict(["good film number 3"])[0].answer in ("yes", "no")
    repeated = read_experiment(tmp_path / "run", FineTuning)
    again = finetune(repeated, tmp_path / "again")  # the run's own description is enough
    assert again.judgement["metrics"] == result.judgement["metrics"]


def test_a_family_by_name_and_a_task_by_its_configuration(tmp_path):
    pairs = [(f"{number} a", f"b {number}") for number in range(30)]
    training = Training(steps=1, batch_size=4)
    finetune("vaswani", tmp_path / "run", train=pairs, task=Translation(beams=1, max_tokens=2), training=training)
    assert load(tmp_path / "run").translate(["1 a"])


def test_a_run_goes_on_with_the_same_examples_only(tmp_path):
    finetune(START, tmp_path / "run", train=PAIRS)
    finetune(START, tmp_path / "run", train=PAIRS, resume=True)
    with pytest.raises(ConfigError, match="other rows"):
        finetune(START, tmp_path / "run", train=PAIRS[1:], resume=True)


@pytest.mark.parametrize(
    ("train", "task", "said"),
    [
        (None, None, "examples"),
        ([("one", "two", "three", "four")], None, "Example 1 is a tuple"),
        (["only a text"], None, "Example 1 is a str"),
        ([], None, "no rows|holds no"),
        (PAIRS, "sentimant", "sentiment"),
        ([{"text": object(), "label": "x"}], None, "train, number 1"),
    ],
)
def test_examples_that_are_none_are_refused_and_leave_no_folder(tmp_path, train, task, said):
    with pytest.raises(TrifoldError, match=said):
        finetune(START, tmp_path / "run", train=None if train is None else iter(train), task=task)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_without_its_examples_being_given_again(tmp_path):
    finetune(START, tmp_path / "run", train=PAIRS)
    assert finetune(START, tmp_path / "run", resume=True).steps == 2
    text = {"texts": ["to be or not to be"] * 20, "training": Training(steps=1, length=16, batch_size=2)}
    pretrain("gpt2", tmp_path / "text", **text)
    assert pretrain("gpt2", tmp_path / "text", training=text["training"], resume=True).steps == 1


@pytest.mark.parametrize("out", ["file/run", "\0"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, out):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be made"):
        finetune(START, tmp_path / out, train=PAIRS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="device = cuda"):
        finetune(START, tmp_path / "run", train=PAIRS, training=Training(steps=1, device="cuda"))
    with pytest.raises(ConfigError, match="device = nonsense"):
        find_device("nonsense")


def test_examples_beside_files_are_refused(tmp_path):
    with_files = FineTuning(model=MODEL, data=LabelledData(train="train.tsv"), task=Classification())
    with pytest.raises(ConfigError, match="one of the two"):
        finetune(with_files, tmp_path / "run", train=PAIRS)


def test_numbers_of_numpy_are_labels(tmp_path):
    rows = [{"text": text, "label": np.int64(label == "yes"), "weight": np.float32(0.5)} for text, label in PAIRS]
    finetune(START, tmp_path / "run", train=rows, task="sentiment")
    assert {row["label"] for row in lines(tmp_path / "run" / "given" / "train.jsonl")} == {0, 1}
