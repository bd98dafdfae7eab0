"""What suits a text, a length of time and a machine."""

import pytest

from trifold.config import to_json
from trifold.errors import ConfigError, DataError
from trifold.families import FAMILIES
from trifold.training import DataChoice
from trifold.training.fit import EPOCHS, NOMINAL, PATIENCE, UNKNOWN, Text, advise, bytes_per_token, fit, survey
from trifold.training.prepare import shape_of

MEGABYTE = 10**6


def chosen(size: int = MEGABYTE, *, whole: bool = True, **sections):
    return fit(sections, Text(size, whole=whole), measure=False).experiment


def test_a_text_alone_is_enough():
    experiment = chosen()
    assert (experiment.model.preset, experiment.model.size) == ("llama", "tiny")
    assert experiment.training.minutes == 5 and experiment.objective.kind == "causal"
    assert experiment.tokenizer.vocab_size == 2048 and experiment.data.valid_fraction == 0.05
    assert experiment.training.keep_best and experiment.patience == PATIENCE


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_choice(family):
    experiment = chosen(model={"preset": family})
    assert experiment.model.preset == family and experiment.model.embedding == "cooccurrence"


SAID = [
    ("model", "preset", "gpt2"), ("model", "size", "mini"), ("model", "overrides", {"dropout": 0.05, "num_layers": 3}),
    ("model", "embedding", "random"), ("tokenizer", "kind", "unigram"), ("tokenizer", "vocab_size", 777),
    ("data", "valid_fraction", 0.07), ("training", "length", 48), ("training", "batch_size", 5),
    ("training", "minutes", 1.5), ("training", "steps", 70), ("training", "evaluate_every", 13),
    ("training", "evaluate_rows", 0), ("training", "keep_best", False),
    ("training", "optimizer", {"kind": "adamw", "lr": 1e-4}),
    ("training", "schedule", {"kind": "wsd", "decay": 0.5}), ("objective", "kind", "causal"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "name", "value"), SAID)
def test_what_is_said_is_kept(section, name, value):
    kept = to_json(chosen(**{section: {name: value}}))[section][name]
    if isinstance(value, dict):
        assert value.items() <= kept.items()
    else:
        assert kept == value


def test_a_learning_rate_alone_leaves_the_rest_of_the_optimizer_open():
    optimizer = chosen(training={"optimizer": {"kind": "muon", "lr": 0.5}}).training.optimizer
    assert optimizer.lr == 0.5 and optimizer.adamw.lr == chosen().training.optimizer.adamw.lr


def test_more_text_has_more_tokens_and_less_dropout():
    sizes = [10**5, 10**6, 10**7, 10**8, 10**9]
    found = [chosen(size) for size in sizes]
    vocabularies = [one.tokenizer.vocab_size for one in found]
    dropouts = [one.model.overrides["dropout"] for one in found]
    fractions = [one.data.valid_fraction for one in found]
    assert vocabularies == sorted(set(vocabularies))
    assert dropouts == sorted(dropouts, reverse=True) and dropouts[0] > 0.1 and dropouts[-1] == 0
    assert fractions == sorted(fractions, reverse=True) and fractions[0] == 0.1 and fractions[-1] == 0.02


def test_a_decoder_with_learned_positions_has_half_of_the_dropout_and_none_of_attention():
    """Dropped with the tokens, and in heads that look at one neighbour, positions are lost (decision 0031)."""
    rotary, learned = (chosen(10**6, model={"preset": preset}).model.overrides for preset in ("llama", "gpt2"))
    assert learned["dropout"] == rotary["dropout"] / 2 > 0 and learned["attention_dropout"] == 0
    said = chosen(
        10**6, model={"preset": "gpt2", "overrides": {"dropout": 0.3, "attention_dropout": 0.2}}
    ).model.overrides
    assert (said["dropout"], said["attention_dropout"]) == (0.3, 0.2)
    alone = chosen(10**6, model={"preset": "gpt2", "overrides": {"dropout": 0.3}}).model.overrides
    assert alone["dropout"] == 0.3 and "attention_dropout" not in alone  # as much there
    apart = chosen(10**6, model={"preset": "gpt2", "overrides": {"attention_dropout": 0.2}}).model.overrides
    assert apart["attention_dropout"] == 0.2 and apart["dropout"] == learned["dropout"]
    assert chosen(10**6, model={"preset": "bert"}).model.overrides["dropout"] <= rotary["dropout"]


def test_more_time_has_a_larger_model_where_the_text_is_long_enough():
    sizes = [chosen(10**9, training={"minutes": minutes}).model.size for minutes in (5, 60, 600, 6000)]
    order = ["tiny", "mini", "small", "medium", "base", "large"]
    places = [order.index(size) for size in sizes]
    assert places == sorted(places) and places[-1] >= places[0] + 2
    assert chosen(10**5, training={"minutes": 6000}).model.size == "tiny"


def test_a_short_text_is_not_read_for_ever():
    experiment = chosen(10**5, training={"minutes": 60})
    read = experiment.training.steps * experiment.training.batch_size * experiment.training.length
    assert experiment.training.minutes is None
    assert read * bytes_per_token(experiment.tokenizer.vocab_size) == pytest.approx(EPOCHS * 10**5, rel=0.05)


def test_as_many_steps_as_were_asked_for():
    experiment = chosen(10**5, training={"steps": 100_000})
    assert experiment.training.steps == 100_000 and experiment.patience == 0


@pytest.mark.parametrize(("family", "learned"), [("gpt2", True), ("bert", True), ("llama", False), ("t5", False)])
def test_no_learned_position_is_left_untrained(family, learned):
    experiment = chosen(model={"preset": family})
    assert experiment.model.overrides.get("max_length") == (experiment.training.length if learned else None)


def test_held_out_files_and_a_tokenizer_leave_nothing_to_choose_there(tmp_path):
    experiment = chosen(data={"valid": ["a.txt"]}, tokenizer={"vocab_size": 300, "kind": "character"})
    assert experiment.data.valid_fraction == DataChoice().valid_fraction and experiment.tokenizer.vocab_size == 300


def test_how_much_text_there_is(tmp_path):
    (tmp_path / "a.txt").write_text("猫" * 100, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "cat"}\n{"text": "dog"}\n', encoding="utf-8")
    assert survey(DataChoice(paths=(str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")))) == Text(306)
    assert survey(DataChoice(paths=("-",))) == Text(UNKNOWN, whole=False)
    with pytest.raises(DataError):
        survey(DataChoice(paths=(str(tmp_path / "nowhere.txt"),)))


def test_a_long_text_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("trifold.training.fit.SURVEYED", 1000)
    (tmp_path / "a.txt").write_text("one line of text\n" * 50_000, encoding="utf-8")
    text = survey(DataChoice(paths=(str(tmp_path / "a.txt"),)))
    assert not text.whole and 1000 < text.num_bytes < 850_000


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="gpt2"):
        chosen(model={"preset": "gpt"})
    with pytest.raises(ConfigError, match="exactly one of"):
        chosen(training={"steps": 3, "minutes": 2})


def test_it_says_what_it_chose():
    notes = "\n".join(fit({}, Text(MEGABYTE), measure=False).notes)
    assert "1.00 MB" in notes and "llama tiny" in notes and "2,048 tokens" in notes and "held out" in notes


def test_one_of_several_processes_measures_nothing(monkeypatch):
    def measured(*_: object) -> float:
        raise AssertionError

    monkeypatch.setattr("trifold.training.fit.time_step", measured)
    monkeypatch.setenv("RANK", "1")
    assert fit({}, Text(MEGABYTE)).experiment == fit({}, Text(MEGABYTE), measure=False).experiment


def advice(size: int, *, whole: bool = True, **sections):
    experiment = chosen(size, **sections)
    return experiment, advise(experiment, shape_of(experiment), Text(size, whole=whole), NOMINAL)


@pytest.mark.parametrize("size", [10**5, 10**6, 10**7, 10**9])
def test_what_the_rules_choose_is_not_advised_against(size):
    experiment, found = advice(size)
    assert found.size is None
    assert experiment.training.steps is None or found.best_step == experiment.training.steps


def test_a_model_that_is_too_large_or_too_small_for_text_and_time_is_named():
    assert advice(10**6, model={"size": "base"})[1].size == "tiny"
    found = advice(10**9, training={"minutes": 6000}, model={"size": "tiny"})[1]
    assert found.size not in (None, "tiny") and found.parameters > 2


def test_a_text_that_is_read_again_and_again_without_dropout_is_best_sooner():
    training = {"steps": 20_000}
    free = advice(10**5, training=training, model={"size": "tiny", "overrides": {"dropout": 0.0}})[1]
    dropped = advice(10**5, training=training, model={"size": "tiny", "overrides": {"dropout": 0.2}})[1]
    assert free.best_step < dropped.best_step < 20_000
    assert free.epochs == dropped.epochs > EPOCHS
    assert advice(10**5, whole=False, training=training)[1].best_step == 20_000  # of unknown size
