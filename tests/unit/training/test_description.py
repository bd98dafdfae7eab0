"""What a run says of itself, and what may change when it goes on."""

from dataclasses import replace

import pytest

from trifold.config import to_json
from trifold.errors import ConfigError, ModelFileError
from trifold.training import DataChoice, Experiment, ModelChoice, Training, read_experiment
from trifold.training.description import describe, go_on_with, read_description

BEGUN = Experiment(
    model=ModelChoice(preset="gpt2", overrides={"num_layers": 2}),
    data=DataChoice(paths=("a.txt",)),
    training=Training(steps=9),
)


def write(folder, experiment) -> None:
    describe(folder, {"experiment": experiment})


def test_the_overrides_of_a_run_of_an_earlier_version_are_read_under_their_old_name(tmp_path):
    old = to_json(BEGUN)
    old["model"]["dials"] = old["model"].pop("overrides")
    write(tmp_path, old)
    assert read_experiment(tmp_path) == BEGUN
    go_on_with(tmp_path, BEGUN, ())
    assert "changes" not in read_description(tmp_path)


def test_the_length_may_change_and_is_written_down_and_the_rest_has_to_be_allowed_by_name(tmp_path):
    write(tmp_path, to_json(BEGUN))
    longer = replace(BEGUN, training=replace(BEGUN.training, steps=12))
    go_on_with(tmp_path, longer, ())
    assert read_experiment(tmp_path) == longer
    assert read_description(tmp_path).get("changes", []) == []  # free fields need no note
    moved = replace(longer, data=DataChoice(paths=("b.txt",)))
    go_on_with(tmp_path, moved, ())  # what lies there is compared by its hash
    assert read_experiment(tmp_path) == moved and read_description(tmp_path).get("changes", []) == []
    other = replace(moved, data=DataChoice(paths=("b.txt",), document="line"))
    with pytest.raises(ConfigError, match=r"data\.document"):
        go_on_with(tmp_path, other, ("training",))
    go_on_with(tmp_path, other, ("data",))
    assert read_description(tmp_path)["changes"] == [{"data.document": "file -> line"}]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"result": 1}', "null", "{"])
def test_a_folder_without_a_description_holds_no_run(tmp_path, text):
    (tmp_path / "trifold.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelFileError):
        read_experiment(tmp_path)
    assert (tmp_path / "trifold.json").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "name", ["threads", "torch", "train_0", "valid", "data", "training.optimizer.lr", "model.overrides"]
)
def test_what_can_change_can_be_allowed(tmp_path, name):
    write(tmp_path, to_json(BEGUN))
    go_on_with(tmp_path, BEGUN, (name,))


@pytest.mark.parametrize(
    ("name", "meant"), [("thread", "threads"), ("training.optimiser", "training.optimizer"), ("x", "torch")]
)
def test_a_name_of_nothing_that_could_change_is_refused_by_name(tmp_path, name, meant):
    write(tmp_path, to_json(BEGUN))
    with pytest.raises(ConfigError, match=rf"(?s){name}.*{meant}"):
        go_on_with(tmp_path, BEGUN, (name,))
