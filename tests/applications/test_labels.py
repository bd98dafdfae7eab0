"""Labels through the command line: named numbers, vectors, columns of yes and no, and which weights are kept for them."""

import json
from pathlib import Path
from typing import Any

from tests.applications.test_tasks import SMALL, call
from tests.unit.tasks.test_label import WRITE, write_csv, write_jsonl
from trifold.tasks import load

STEPS = ("--steps", 2, "--batch-size", 8)


def tune(tmp_path, capsys, labels: list[Any], *options: object, suffix: str = ".jsonl", task: str = "classification"):
    """Code, labels of the run and what was said, of a short training on one text for each label, ten times."""
    rows = [{"text": f"w{number} u{turn}", "label": label} for turn in range(10) for number, label in enumerate(labels)]
    train = WRITE[suffix](tmp_path / f"train{suffix}", rows)
    return tune_on(tmp_path, capsys, train, *options, task=task)


def tune_on(tmp_path, capsys, train: Path, *options: object, task: str = "classification"):
    number = len(list(tmp_path.glob("run*")))
    run = tmp_path / (f"run{number}" if number else "run")
    words = ("finetune", task, "--model", "bert", *SMALL, "--train", train, "--out", run, *STEPS, *options)
    code, _, err = call(capsys, *words)
    known = load(run).task.config if code == 0 else None
    return code, known, err


def test_labels_that_differ_by_case_or_width_are_told_apart_and_named(tmp_path, capsys):
    code, known, err = tune(tmp_path, capsys, ["pos", "Pos", "neg", "ｐｏｓ"])
    assert code == 0 and known.labels == ("Pos", "neg", "pos", "ｐｏｓ")
    assert "Pos, pos, ｐｏｓ" in err


def test_numbers_are_no_labels_where_names_were_learned(tmp_path, capsys):
    assert tune(tmp_path, capsys, ["neg", "pos"])[0] == 0
    test = write_jsonl(tmp_path / "test.jsonl", [{"text": "w1", "label": 1}])
    code, _, err = call(capsys, "evaluate", tmp_path / "run", "--data", test)
    assert code == 3 and "'1'" in err and "neg, pos" in err


def test_vectors_get_names_and_one_of_another_length_is_refused_or_left_out(tmp_path, capsys):
    vectors = [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    names = ("task.multi_label=true", "--label-names", "red", "round", "big")
    code, known, err = tune(tmp_path, capsys, vectors, *names)
    assert code == 0 and known.labels == ("red", "round", "big"), err
    test = write_jsonl(tmp_path / "test.jsonl", [{"text": "w1", "label": [0, 1]}])
    code, _, err = call(capsys, "evaluate", tmp_path / "run", "--data", test)
    assert code == 3 and "test.jsonl:1" in err and "2 places" in err
    code, _, err = tune(tmp_path, capsys, vectors, *names[:-1])
    assert code == 3 and "3 places" in err and "task.label_names" in err


def test_columns_of_yes_and_no_are_labels_where_they_are_named(tmp_path, capsys):
    rows = [{"comment": f"w{n % 4} u{n}", "toxic": n % 2, "rude": int(n % 4 > 1)} for n in range(60)]
    train = write_csv(tmp_path / "train.csv", rows)
    options = ("--text-field", "comment", "--label-field", "toxic+rude")
    code, _, err = tune_on(tmp_path, capsys, train, *options[:2])
    assert code == 3 and "data.columns.label=toxic+rude" in err
    code, known, err = tune_on(tmp_path, capsys, train, *options, "task.multi_label=true")
    assert code == 0 and known.labels == ("toxic", "rude"), err
    code, out, err = call(capsys, "evaluate", tmp_path / "run", "--data", train, "--json")
    assert code == 0 and json.loads(out)["n"] == 60, err
    code, _, err = tune_on(tmp_path, capsys, train, *options)
    assert code == 3 and "task.multi_label=true" in err
    write_csv(train, [{**row, "rude": 1 - row["toxic"]} for row in rows])
    code, known, err = tune_on(tmp_path, capsys, train, *options)
    assert code == 0 and known.labels == ("toxic", "rude"), err


def test_the_weights_with_the_best_of_the_named_metric_are_kept_and_of_these_the_lowest_loss(tmp_path, capsys):
    rows = [{"text": f"w{n % 9} of w{n % 7}", "labels": [f"l{n % 9}"]} for n in range(120)]
    train = write_jsonl(tmp_path / "train.jsonl", rows)
    options = ("task.multi_label=true", "--lr", "1e-2", "training.evaluate_every=1", "--steps", 12)
    code, _, err = tune_on(tmp_path, capsys, train, *options, "--metric", "macro_f1")
    assert code == 0, err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = {line["step"]: (-line["valid_metric"], line["valid_loss"]) for line in lines if "valid_loss" in line}
    assert len({metric for metric, _ in found.values()}) < len(found)
    best = min(found, key=lambda step: found[step])
    assert max((tmp_path / "run" / "best").iterdir()).name == f"step-{best:08d}"
    code, _, err = tune_on(tmp_path, capsys, train, *options, "--metric", "accuracy")
    assert code == 2 and "micro_f1, macro_f1, loss" in err
