"""What is trained on and judged on: several files, joined columns, groups held out together, overrides at the start."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from trifold.batch import Batch, Layout
from trifold.cli.main import main
from trifold.presets.pretrained import Transformer
from trifold.tasks import Classification, FineTuning, Generation, LabelledData, load
from trifold.tasks.examples import read_examples
from trifold.tasks.frame import Frame
from trifold.tasks.generation import GenerationTask
from trifold.text import train_tokenizer
from trifold.training import ModelChoice


def call(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


SMALL = ("--overrides", "num_layers=1", "d_model=16", "num_heads=2", "--vocab-size", 320)


def split_of(data: LabelledData, task=None) -> dict[str, list[str]]:
    """The origin of each row by split."""
    found = read_examples(FineTuning(model=ModelChoice(preset="bert"), data=data, task=task or Classification()))
    return {name: [row.values["row"] for row, _ in rows] for name, rows in found.rows.items()}


def test_groups_are_never_parted_between_splits_and_splits_never_change(tmp_path):
    rows = [
        {"context": f"c{i % 40}", "text": f"t{i}", "row": f"{i % 40}-{i}", "label": "ab"[i % 2]} for i in range(400)
    ]
    files = tuple(str(write_lines(tmp_path / f"{n}.jsonl", rows[n::2])) for n in (0, 1))
    shares = {"dev_fraction": 0.1, "test_fraction": 0.2, "group": "context"}
    first = split_of(LabelledData(train=files, **shares))
    contexts = {name: {row.partition("-")[0] for row in found} for name, found in first.items()}
    assert sum(map(len, first.values())) == 400 and sum(map(len, contexts.values())) == 40
    assert contexts["train"].isdisjoint(contexts["dev"] | contexts["test"])
    assert contexts["dev"].isdisjoint(contexts["test"])
    other = split_of(LabelledData(train=files[::-1], **shares))
    assert {name: set(found) for name, found in other.items()} == {name: set(found) for name, found in first.items()}


def test_joined_columns_and_several_files_train_and_the_runs_of_tokens_are_saved(tmp_path, capsys):
    dice = np.random.default_rng(0)
    words = [("good", "yes"), ("bad", "no")]
    made = [(f"a{dice.integers(5)} {word}", label) for word, label in words * 60]
    first = write_lines(tmp_path / "a.jsonl", [{"title": t, "body": "it is", "label": y} for t, y in made[:60]])
    second = write_lines(tmp_path / "b.jsonl", [{"title": t, "body": "it is", "label": y} for t, y in made[60:]])
    test = write_lines(tmp_path / "t.jsonl", [{"whole": f"{t} it is", "label": y} for t, y in made[:40]])
    run = tmp_path / "run"
    code, out, err = call(
        capsys,
        "finetune",
        "classification",
        "--model",
        "modernbert",
        *SMALL,
        "--train",
        first,
        second,
        "--test",
        test,
        "--text-field",
        "whole|title+body",
        "--out",
        run,
        "--epochs",
        3,
        "--lr",
        "1e-3",
        "--batch-size",
        8,
        "task.ngrams=2",
        "--json",
    )
    assert code == 0, err
    told = json.loads(out)["judgement"]["metrics"]["accuracy"]["value"]
    assert told == 1.0
    assert "heads.ngrams.table" in dict(load(run).model.named_parameters())
    code, out, err = call(capsys, "evaluate", run, "--data", test, "--json")
    assert code == 0 and json.loads(out)["metrics"]["accuracy"]["value"] == told, err
    code, _, err = call(
        capsys,
        "finetune",
        "classification",
        "--model",
        "bert",
        "--train",
        first,
        "--text-field",
        "whole|title+none",
        "--out",
        tmp_path / "no",
    )
    assert code == 3 and "whole|title+none" in err and "Traceback" not in err
    code, _, err = call(
        capsys,
        "finetune",
        "classification",
        "--model",
        "bert",
        "--train",
        first,
        "--text-field",
        "title",
        "--out",
        tmp_path / "no",
        "data.group=place",
    )
    assert code == 3 and "place" in err and "title, body, label" in err


def test_a_counted_embedding_is_pre_trained_and_its_dials_turned_for_a_task(tmp_path, capsys):
    text = tmp_path / "text.jsonl"
    dice = np.random.default_rng(0)
    write_lines(
        text, [{"sentence": " ".join(dice.choice("the cat dog sat ran on mat road".split(), 12))} for _ in range(80)]
    )
    run = tmp_path / "encoder"
    code, _, err = call(
        capsys,
        "pretrain",
        "--preset",
        "modernbert",
        "--overrides",
        "num_layers=1",
        "d_model=16",
        "num_heads=2",
        "--data",
        text,
        "--text-field",
        "text|sentence",
        "--kind",
        "wordpiece",
        "tokenizer.lowercase=true",
        "--vocab-size",
        320,
        "model.embedding=cooccurrence",
        "--steps",
        2,
        "--out",
        run,
    )
    assert code == 0, err
    train = write_lines(tmp_path / "train.jsonl", [{"text": f"the {w}", "label": w} for w in ("cat", "dog")] * 20)
    tuned = tmp_path / "tuned"
    code, _, err = call(
        capsys,
        "finetune",
        "classification",
        "--model",
        run,
        "--overrides",
        "dropout=0.3",
        "--train",
        train,
        "--out",
        tuned,
        "--epochs",
        1,
    )
    assert code == 0, err
    assert json.loads((tuned / "config.json").read_text())["embedding_dropout"] == 0.3
    code, _, err = call(
        capsys,
        "finetune",
        "classification",
        "--model",
        run,
        "--overrides",
        "d_model=32",
        "--train",
        train,
        "--out",
        tmp_path / "no",
    )
    assert code != 0 and "Traceback" not in err and not (tmp_path / "no").exists()
    code, _, err = call(
        capsys,
        "pretrain",
        "--preset",
        "gpt2",
        "--data",
        text,
        "--text-field",
        "sentence",
        "tokenizer.lowercase=true",
        "--steps",
        2,
        "--out",
        tmp_path / "no",
    )
    assert code == 2 and "wordpiece" in err


@pytest.mark.parametrize(
    ("preset", "match", "wanted"),
    [
        ("bert", False, [0, 0, 0, 1, 1, 1]),
        ("bert", True, [0, 0, 0, 1, 1, 1]),
        ("modernbert", False, None),
        ("modernbert", True, [0, 0, 0, 1, 2, 1]),
        ("roberta", False, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_parts_of_a_pair_are_marked_as_far_as_the_family_can_tell_them_apart(preset, match, wanted):
    tokenizer = train_tokenizer(["who sat there"], kind="wordpiece", vocab_size=320)
    model = Transformer.from_preset(preset, size="tiny", vocab_size=tokenizer.vocab_size)
    special = tokenizer.special
    ids = torch.tensor([[special.cls, 50, special.sep, 60, 50, special.sep]])
    batch = Batch(source=ids, source_layout=Layout.whole(1, 6))
    seen = Frame(tokenizer, model.config, 16).marked(batch, match=match)
    assert seen.source_layout is not None
    found = seen.source_layout.segments
    assert (found.tolist() if found is not None else None) == (None if wanted is None else [wanted])


EXPERIMENT = """
from dataclasses import replace
from trifold.tasks import FineTuning, LabelledData, Translation
from trifold.tasks.experiment import TRAINING
from trifold.training import ModelChoice, TokenizerChoice

def experiment():
    return FineTuning(
        model=ModelChoice(preset="vaswani", overrides={"num_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 16}),
        task=Translation(beams=1, max_length=24),
        tokenizer=TokenizerChoice(vocab_size=300),
        data=LabelledData(train="PLACE", dev_fraction=0.1, columns={"source": "en", "target": "de"}),
        training=replace(TRAINING, minutes=5, steps=None), epochs=None)
"""


def test_options_beside_an_experiment_file_replace_its_values_and_are_never_passed_over(tmp_path, capsys):
    train = write_lines(tmp_path / "t.jsonl", [{"en": f"a{n} b", "de": f"c{n} d"} for n in range(40)])
    file = tmp_path / "experiment.py"
    file.write_text(EXPERIMENT.replace("PLACE", str(train)), encoding="utf-8")
    run = tmp_path / "run"
    code, _, err = call(
        capsys,
        "finetune",
        "--experiment",
        file,
        "--source-field",
        "de",
        "--target-field",
        "en",
        "--steps",
        2,
        "--batch-size",
        4,
        "--lr",
        "2e-4",
        "--seed",
        3,
        "--overrides",
        "dropout=0.2",
        "--lora",
        2,
        "--vocab-size",
        310,
        "task.beams=2",
        "--out",
        run,
    )
    assert code == 0, err
    asked = json.loads((run / "trifold.json").read_text())["experiment"]
    assert asked["data"]["columns"] == {"source": "de", "target": "en"}
    assert asked["model"]["overrides"] == {"num_layers": 1, "d_model": 16, "num_heads": 2, "d_ff": 16, "dropout": 0.2}
    training = asked["training"]
    assert (training["steps"], training["minutes"], asked["epochs"]) == (2, None, None)
    assert (training["batch_size"], training["seed"], training["optimizer"]["lr"]) == (4, 3, 2e-4)
    assert (asked["task"]["beams"], asked["task"]["max_length"], asked["tokenizer"]["vocab_size"]) == (2, 24, 310)
    assert asked["lora"]["rank"] == 2
    code, out, err = call(capsys, "translate", run, "--input", train, "--json")
    assert code == 0, err
    assert [one["source"] for one in json.loads(out)["translations"]] == [f"c{n} d" for n in range(40)]


def test_the_partners_of_an_embedding_are_judged_together_whatever_their_lengths(tmp_path, capsys):
    rows = [{"query": f"w{n}", "positive": f"w{n} " + "and so on " * (20 + n % 9)} for n in range(300)]
    train = write_lines(tmp_path / "pairs.jsonl", rows)
    code, _out, err = call(
        capsys,
        "finetune",
        "embedding",
        "--model",
        "modernbert",
        *SMALL,
        "--train",
        train,
        "--steps",
        2,
        "--batch-size",
        16,
        "data.dev_fraction=0.5",
        "--out",
        tmp_path / "run",
        "--json",
    )
    assert code == 0, err
    losses = [
        json.loads(line).get("valid_loss") for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert all(np.isfinite(loss) for loss in losses if loss is not None) and any(loss is not None for loss in losses)


STARTED = """
from trifold.tasks import FineTuning, LabelledData
from trifold.training import ModelChoice
def experiment():
    return FineTuning(model=ModelChoice(start="nowhere", overrides={"dropout": 0.3}), data=LabelledData(train="PLACE"))
"""


def test_another_model_beside_an_experiment_file_keeps_the_dials_that_the_file_turns(tmp_path, capsys):
    train = write_lines(tmp_path / "t.jsonl", [{"text": f"a{n}", "label": "xy"[n % 2]} for n in range(40)])
    file, first, second = tmp_path / "experiment.py", tmp_path / "first", tmp_path / "second"
    file.write_text(STARTED.replace("PLACE", str(train)), encoding="utf-8")
    code, _, err = call(
        capsys, "finetune", "classification", "--model", "bert", *SMALL, "--train", train, "--steps", 1, "--out", first
    )
    assert code == 0, err
    code, _, err = call(capsys, "finetune", "--experiment", file, "--model", first, "--steps", 1, "--out", second)
    assert code == 0, err
    asked = json.loads((second / "trifold.json").read_text())["experiment"]["model"]
    assert (asked["start"], asked["overrides"]) == (str(first), {"dropout": 0.3})


PRETRAINING = """
from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training
def experiment():
    return Experiment(
        model=ModelChoice(preset="gpt2", overrides={"num_layers": 1, "d_model": 16, "num_heads": 2}),
        tokenizer=TokenizerChoice(vocab_size=300), data=DataChoice(paths=("PLACE",)),
        training=Training(steps=2, length=16, batch_size=2))
"""


def test_from_beside_an_experiment_file_goes_on_with_that_model_and_its_tokenizer(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("one two three four five six seven\n" * 200, encoding="utf-8")
    file = tmp_path / "experiment.py"
    file.write_text(PRETRAINING.replace("PLACE", str(text)), encoding="utf-8")
    first, second = tmp_path / "first", tmp_path / "second"
    code, _, err = call(capsys, "pretrain", "--experiment", file, "--out", first)
    assert code == 0, err
    beside = (
        "--minutes",
        0.001,
        "--lr",
        0.25,
        "--optimizer",
        "adamw",
        "--objective",
        "causal",
        "--overrides",
        "dropout=0.5",
    )
    code, _, err = call(capsys, "pretrain", "--experiment", file, "--from", first, *beside, "--out", second)
    assert code == 0, err
    asked = json.loads((second / "trifold.json").read_text())["experiment"]
    assert (asked["model"]["start"], asked["model"]["preset"]) == (str(first), None)
    training = asked["training"]
    assert (training["minutes"], training["steps"], training["length"], training["optimizer"]["lr"]) == (
        0.001,
        None,
        16,
        0.25,
    )
    assert (training["optimizer"]["kind"], asked["model"]["overrides"]) == ("adamw", {"dropout": 0.5})
    assert (second / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()


def test_an_instruction_that_speaks_of_the_template_is_put_in_as_it_is_written():
    task = object.__new__(GenerationTask)
    task.config = Generation(template="{prompt} / {input}", template_without_input="{prompt} -")
    assert task.render("explain {input}", "{prompt} and {input}") == "explain {input} / {prompt} and {input}"
    assert task.render("say {prompt}") == "say {prompt} -"


def test_the_report_of_instruction_tuning_shows_what_the_model_writes(tmp_path, capsys):
    rows = [{"instruction": f"say w{n}", "output": f"w{n} <b>|</b> it is"} for n in range(60)]
    train = write_lines(tmp_path / "pairs.jsonl", rows)
    code, _out, err = call(
        capsys,
        "finetune",
        "generation",
        "--model",
        "gpt2",
        *SMALL,
        "--train",
        train,
        "--steps",
        2,
        "--batch-size",
        4,
        "--out",
        tmp_path / "run",
    )
    assert code == 0, err
    samples = json.loads((tmp_path / "run" / "trifold.json").read_text())["judgement"]["samples"]
    assert samples and all(one["gold"].endswith("it is") and "say w" in one["input"] for one in samples)
    for name in ("report.html", "report.md"):
        page = (tmp_path / "run" / name).read_text(encoding="utf-8")
        assert "What the model writes" in page and "&lt;b&gt;" in page and "<b>|" not in page


def test_tuning_a_tuned_model_further_goes_on_with_its_head_where_the_task_is_the_same(tmp_path, capsys):
    rows = [{"question": f"w{n}?", "context": f"it is w{n} or not", "answers": [f"w{n}"]} for n in range(60)]
    train = write_lines(tmp_path / "spans.jsonl", rows)
    labelled = write_lines(tmp_path / "labels.jsonl", [{"text": f"w{n}", "label": "xy"[n % 2]} for n in range(60)])
    first = tmp_path / "first"
    beside = ("--steps", 1, "--batch-size", 4, "--lr", "1e-30")
    code, _, err = call(
        capsys, "finetune", "span_qa", "--model", "bert", *SMALL, "--train", train, *beside, "--out", first
    )
    assert code == 0 and "going on with" not in err, err
    for name, task, file, kept in (("same", "span_qa", train, True), ("other", "classification", labelled, False)):
        run = tmp_path / name
        code, _, err = call(capsys, "finetune", task, "--model", first, "--train", file, *beside, "--out", run)
        assert code == 0 and (f"going on with the head of {first}" in err) == kept, err
        assert (f"the head of {first} does not fit (kind, labels" in err) == (not kept), err
        parts = [dict(load(one).model.named_parameters()) for one in (first, run)]
        shared = [name for name in parts[0].keys() & parts[1].keys() if name.startswith("heads.")] if kept else []
        assert bool(shared) == kept
        for one in shared:
            torch.testing.assert_close(parts[0][one], parts[1][one], rtol=0, atol=1e-6)


SPANS = [{"question": f"w{n}?", "context": f"it is w{n} or not", "answers": [f"w{n}"]} for n in range(40)]
PAIRS = [{"premise": f"w{n}", "hypothesis": f"it is w{n // 2}", "label": "xy"[n % 2]} for n in range(40)]


@pytest.mark.parametrize(
    ("task", "preset", "rows", "extra"),
    [
        ("span_qa", "bert", SPANS, "heads.near.output.weight"),
        ("span_qa", "gpt2", SPANS, "embedding.segments.weight"),
        ("classification", "modernbert", PAIRS, "embedding.segments.weight"),
    ],
)
def test_marks_of_pairs_are_asked_for_and_said_not_to_be_portable(tmp_path, capsys, task, preset, rows, extra):
    words = (
        "finetune",
        task,
        "--model",
        preset,
        *SMALL,
        "--train",
        write_lines(tmp_path / "a.jsonl", rows),
        "--steps",
        1,
        "--batch-size",
        4,
        *(["task.ngrams=0"] if task == "classification" else []),
    )
    code, _, err = call(capsys, *words, "--out", tmp_path / "plain")
    assert code == 0 and "not portable" not in err, err
    assert extra not in dict(load(tmp_path / "plain").model.named_parameters())
    code, _, err = call(capsys, *words, "--out", tmp_path / "marked", "task.match=true")
    assert code == 0 and "not portable: task.match" in err, err
    assert extra in dict(load(tmp_path / "marked").model.named_parameters())
    saved = tmp_path / "marked" / "task.json"
    before = json.loads(saved.read_text(encoding="utf-8"))
    assert before["task"].pop("match") is True
    saved.write_text(json.dumps(before), encoding="utf-8")  # as a run from before marks could be turned off
    assert load(tmp_path / "marked").task.head.apart == ("task.match",)
