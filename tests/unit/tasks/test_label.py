"""Labels as people write them: trimmed, numbered, several in a cell, as vectors; what is plainly not meant is asked."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trifold.data.rows import Row, read_rows
from trifold.errors import DataError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Classification
from trifold.tasks.classification import ClassificationTask, find_labels, notes_on
from trifold.text import train_tokenizer

TOKENIZER = train_tokenizer(["a b c"] * 9, kind="byte_bpe", vocab_size=270)
MODEL = Transformer.from_preset("gpt2", size="tiny", vocab_size=TOKENIZER.vocab_size, num_layers=1).config
COLUMNS = {"text": "text", "label": "label"}


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        table.writeheader()
        table.writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


WRITE = {".jsonl": write_jsonl, ".csv": write_csv, ".tsv": write_csv, ".parquet": write_parquet}


def read(tmp_path: Path, suffix: str, labels: Sequence[Any]) -> list[Row]:
    rows = [{"text": f"w{number}", "label": label} for number, label in enumerate(labels)]
    return list(read_rows(WRITE[suffix](tmp_path / f"train{suffix}", rows)))


def learn(config: Classification, rows: list[Row]) -> tuple[Classification, list[Any]]:
    """What the rows say of the configuration, and the gold labels of each."""
    filled, _ = find_labels(config, [(row, COLUMNS) for row in rows])
    task = ClassificationTask(filled, TOKENIZER, MODEL)
    return filled, [task.record(row, COLUMNS).gold for row in rows]


SAME = {
    "blanks": (["pos", " pos", "pos\u3000", "neg"], ".csv", ("neg", "pos")),
    "no-break blanks and marks": (["pos", "\ufeffpos", "pos\u00a0", "neg"], ".jsonl", ("neg", "pos")),
    "numbers": ([1, 1.0, "1", "1.0", True, 0], ".jsonl", ("0", "1")),
    "floats of pandas": ([1.0, 2.0, 10.0], ".parquet", ("1", "2", "10")),
    "floats of a table": (["1.0", "1", "2.0"], ".tsv", ("1", "2")),
    "truth": ([True, "True", "true", False], ".jsonl", ("false", "true")),
    "accents": (["caf\u00e9", "cafe\u0301", "bar"], ".csv", ("bar", "caf\u00e9")),
    "lists of one": ([["pos"], ["neg"]], ".jsonl", ("neg", "pos")),
    "one hot": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], ".jsonl", ("label_0", "label_1", "label_2")),
}


@pytest.mark.parametrize("case", SAME)
def test_labels_that_are_written_differently_are_the_same(tmp_path, case):
    labels, suffix, wanted = SAME[case]
    known, golds = learn(Classification(), read(tmp_path, suffix, labels))
    assert known.labels == wanted and set(golds) == set(wanted)


NAMED = {
    "in order": ([0, 1, "1", 0.0], ("neg", "pos"), ("neg", "pos")),
    "with their numbers": ([1, 2, 2], ("1=bad", "2=good"), ("bad", "good")),
    "beside the names": ([0, "pos", 1], ("neg", "pos"), ("neg", "pos")),
}


@pytest.mark.parametrize("case", NAMED)
def test_integer_labels_get_names(tmp_path, case):
    labels, names, wanted = NAMED[case]
    known, golds = learn(Classification(label_names=names), read(tmp_path, ".jsonl", labels))
    assert known.labels == wanted and set(golds) == set(wanted)


SEVERAL = {
    "pipe": (["red|round", "red", "round", ""], ".tsv", "|", ("red", "round")),
    "comma": (["red, round", "red", "round"], ".csv", ",", ("red", "round")),
    "semicolon": (["red; round", "red", "big;round"], ".csv", ";", ("big", "red", "round")),
    "Chinese": (["红、圆", "红", "圆"], ".csv", "、", ("圆", "红")),
    "blank": (["red round", "red", "round"], ".tsv", " ", ("red", "round")),
    "lists": ([["red", " round"], ["red"], []], ".jsonl", "", ("red", "round")),
    "lists of pandas": (["['red', 'round']", "['red']", "[]"], ".csv", "", ("red", "round")),
    "vectors": ([[0, 1, 1], [0, 0, 0], [1, 0, 0]], ".jsonl", "", ("label_0", "label_1", "label_2")),
    "vectors of parquet": ([[0.0, 1.0], [1.0, 1.0]], ".parquet", "", ("label_0", "label_1")),
    "vectors of pandas": (["[0, 1, 1]", "[1, 0, 0]"], ".csv", "", ("label_0", "label_1", "label_2")),
    "vectors of numpy": (["[0 1 1]", "[1 0 0]"], ".csv", "", ("label_0", "label_1", "label_2")),
    "vectors in a cell": (["0 1 1", "1 0 0"], ".tsv", " ", ("label_0", "label_1", "label_2")),
    "objects": ([{"red": 1, "round": 0}, {"red": True, "round": 1}], ".jsonl", "", ("red", "round")),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_several_labels_are_read_however_they_are_written(tmp_path, case):
    labels, suffix, separator, wanted = SEVERAL[case]
    known, golds = learn(Classification(multi_label=True), read(tmp_path, suffix, labels))
    assert (known.labels, known.label_separator) == (wanted, separator)
    assert {label for gold in golds for label in gold} == set(wanted) and any(len(gold) > 1 for gold in golds)
    told = "\n".join(notes_on(Classification(multi_label=True), known))
    assert not separator or repr(separator) in told
    assert ("task.label_names" in told) == known.label_vectors


@pytest.mark.parametrize("case", SEVERAL)
def test_several_labels_are_never_taken_for_one(tmp_path, case):
    labels, suffix, separator, _ = SEVERAL[case]
    rows = read(tmp_path, suffix, labels)
    with pytest.raises(DataError, match=r"(?s)train.*:\d+: .*task.multi_label=true"):
        learn(Classification(), rows)
    if separator.strip():
        assert any(separator in gold for gold in learn(Classification(label_separator=""), rows[:3])[1])


@pytest.mark.parametrize("label", ["very good", "a/b", "rock & roll", "New York", "Sales, Marketing", "C++"])
def test_a_name_is_not_taken_apart(tmp_path, label):
    known, _ = learn(Classification(), read(tmp_path, ".csv", [label, "good", "Boston", "very bad", "Rome"]))
    assert label in known.labels


@pytest.mark.parametrize("label", [None, "", " \u3000", "NaN", [], "null"])
def test_a_missing_label_is_none(tmp_path, label):
    rows = [*read(tmp_path, ".jsonl", ["a", "b", label])]
    filled, _ = find_labels(Classification(), [(row, COLUMNS) for row in rows])
    assert filled.labels == ("a", "b")
    with pytest.raises(DataError, match="label"):
        ClassificationTask(filled, TOKENIZER, MODEL).record(rows[-1], COLUMNS)


def test_a_text_without_labels_is_no_row_without_labels(tmp_path):
    rows = read(tmp_path, ".jsonl", [["a"], [], None])
    filled, _ = find_labels(Classification(multi_label=True), [(row, COLUMNS) for row in rows])
    task = ClassificationTask(filled, TOKENIZER, MODEL)
    assert [task.record(row, COLUMNS).gold for row in rows[:2]] == [("a",), ()]
    with pytest.raises(DataError, match=":3"):
        task.record(rows[2], COLUMNS)


def test_weights_count_a_label_however_it_is_written(tmp_path):
    rows = read(tmp_path, ".jsonl", [True, 1, "1.0", 0])
    filled, weights = find_labels(Classification(class_weights="balanced"), [(row, COLUMNS) for row in rows])
    assert filled.labels == ("0", "1") and weights == pytest.approx([2.0, 2 / 3])


def test_many_broken_numbers_are_probably_scores(tmp_path):
    known, _ = learn(Classification(), read(tmp_path, ".csv", [n / 7 for n in range(1, 30)]))
    assert "regression" in "".join(notes_on(Classification(), known))


def test_names_that_a_parquet_file_of_the_hub_carries_are_used(tmp_path):
    import pyarrow
    import pyarrow.parquet

    from trifold.tasks import Tagging

    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
                "ner_tags": {"feature": {"names": ["O", "B-X"], "_type": "ClassLabel"}, "_type": "Sequence"}}  # fmt: skip
    table = pyarrow.Table.from_pylist([{"text": f"t{n}", "label": n % 2, "ner_tags": [0, 1]} for n in range(4)])
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = str(tmp_path / "train.parquet")
    pyarrow.parquet.write_table(table, path)
    wanted = Classification().named_by_files({path: COLUMNS})
    known, golds = learn(wanted, list(read_rows(path)))
    assert known.labels == ("neg", "pos") and golds[:2] == ["neg", "pos"]
    assert "neg, pos" in "".join(notes_on(Classification(), known))
    assert Tagging().named_by_files({path: {"tags": "ner_tags"}}).label_names == ("O", "B-X")
    assert Classification(label_names=("a", "b")).named_by_files({path: COLUMNS}).label_names == ("a", "b")
