"""A configuration refuses what its fields cannot hold, where it is made."""

from pathlib import Path

import pytest
from jaxtyping import config

from trifold import Sampling, Training
from trifold.config import from_json, to_json
from trifold.errors import ConfigError
from trifold.tasks import FineTuning, LabelledData
from trifold.training import AdamW, DataChoice, ModelChoice, TokenizerChoice


@pytest.fixture(autouse=True)
def _unchecked() -> None:
    """The tests' own check of types would be first."""
    config.left = 0


@pytest.mark.parametrize(
    ("make", "field", "allowed"),
    [
        (lambda: Training(steps=3, optimizer=object()), "optimizer = ", "AdamW or Muon"),
        (lambda: Training(steps=3, optimizer={"kind": "adamw"}), "optimizer.adamw = ", "AdamW"),
        (lambda: Training(steps="3"), 'steps = "3"', "valid integer"),
        (lambda: Training(steps=True), "steps = true", "valid integer"),
        (lambda: Training(steps=0), "steps = 0", ">= 1"),
        (lambda: Training(steps=3, dtype="int7"), 'dtype = "int7"', "'float32'"),
        (lambda: Training(steps=3, clip=float("nan")), "clip = NaN", "finite"),
        (lambda: AdamW(betas=(0.9, 2.0)), "betas.1 = 2.0", "< 1"),
        (lambda: DataChoice(paths="a.txt"), 'paths = "a.txt"', "tuple"),
        (lambda: Sampling(stop="end"), 'stop = "end"', "tuple"),
        (lambda: ModelChoice(preset=Path("gpt2")), "preset = ", "string"),
        (lambda: FineTuning(model="bert", data=LabelledData(train="a.tsv")), 'model = "bert"', "ModelChoice"),
    ],
)
def test_a_value_of_another_type_is_refused_at_once_by_the_name_of_its_field(make, field, allowed):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).startswith(field) and allowed in str(caught.value)


def test_a_path_may_stand_for_its_text_and_a_list_for_a_tuple():
    data = DataChoice(paths=[Path("a.txt"), "b.txt"], valid=[Path("v.txt")])
    assert data.paths == ("a.txt", "b.txt") and data.valid == ("v.txt",)
    assert ModelChoice(start=Path("run")).start == "run" and TokenizerChoice(path=Path("t")).path == "t"
    labelled = LabelledData(train=[Path("a.tsv")], dev=Path("d.tsv"))
    assert labelled.files == {"train": ("a.tsv",), "dev": ("d.tsv",)}
    assert from_json(DataChoice, to_json(data)) == data
