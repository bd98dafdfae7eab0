"""Whatever a file holds: each column is read or named, each row is used or counted, or the file is refused by name."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from trifold.config import from_json
from trifold.errors import DataError, UsageError
from trifold.presets.pretrained import Transformer
from trifold.tasks import FineTuning, build_task
from trifold.tasks.build import complete
from trifold.tasks.examples import read_examples
from trifold.tasks.record import columns_in
from trifold.text import train_tokenizer

WORDS = ["good", "bad", "the cup", "张强", "is it?", " padded ", "1", "a|b"]
SHAPES = {
    "classification": {("text", "sentence", "Review", "title", "content"): "text", ("label", "LABEL", "category"): "label",
                       ("text_pair", "sentence2", "hypothesis"): "text"},
    "regression": {("text", "sentence1"): "text", ("text_pair", "sentence2"): "text", ("score", "rating"): "number"},
    "tagging": {("tokens", "words"): "tokens", ("tags", "ner_tags"): "tags"},
    "span_qa": {("question", "query"): "text", ("context", "passage"): "text", ("answers", "answer"): "answers"},
    "translation": {("source", "src"): "text", ("target", "tgt"): "text"},
    "generation": {("instruction", "prompt", "query", "ask"): "text", ("input", "context"): "text",
                   ("output", "response", "answer"): "text"},
    "embedding": {("query", "anchor", "question"): "text", ("positive", "passage"): "text"},
}  # fmt: skip
ODD = [None, "", "  ", [], {}, 7, float("nan"), True, ["x", None], {"text": 3}]


def value(kind: str, dice: random.Random) -> object:
    match kind:
        case "label":
            return dice.choice(["yes", "no", " yes", "1", 0])
        case "number":
            return dice.choice([0.5, 1, "0.25", 4.0])
        case "tokens":
            return ["the", "cup", "张"]
        case "tags":
            return dice.choice([["O", "B-X", "I-X"], ["B-X", "O", "O"], ["O", "O"]])
        case "answers":
            return dice.choice([[], ["cup"], {"text": ["cup"], "answer_start": [4]}])
        case _:
            return f"{dice.choice(WORDS)} {dice.randrange(100)}" if dice.random() < 0.9 else "the cup"


def made_file(kind: str, folder: Path, dice: random.Random, name: str) -> tuple[Path, list[dict]]:
    """Rows with renamed, missing and added columns, and odd values here and there."""
    columns = {dice.choice(names): what for names, what in SHAPES[kind].items() if dice.random() < 0.95}
    extra = [one for one in ("id", "note", "Date") if dice.random() < 0.3]
    rows = []
    for number in range(dice.choice([1, 5, 30, 60])):
        row: dict[str, object] = {key: value(what, dice) for key, what in columns.items() if dice.random() < 0.97}
        row |= {key: f"{key} {number}" for key in extra if dice.random() < 0.5}
        if row and dice.random() < 0.05:
            row[dice.choice(list(row))] = dice.choice(ODD)
        rows.append(row)
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file, rows


@pytest.fixture(scope="module")
def models():
    tokenizer = train_tokenizer(WORDS * 4, kind="wordpiece", vocab_size=320)
    chosen = {}
    for preset in ("bert", "vaswani", "gpt2"):
        chosen[preset] = Transformer.from_preset(preset, size="tiny", vocab_size=tokenizer.vocab_size)
    return tokenizer, chosen


@pytest.mark.parametrize("kind", list(SHAPES))
def test_examples_accounted_are_rows_read(kind, tmp_path, models):
    tokenizer, chosen = models
    model = chosen[{"translation": "vaswani", "generation": "gpt2"}.get(kind, "bert")]
    ends = Counter()
    for seed in range(40):
        dice = random.Random(seed)
        (first, rows), (second, more) = (made_file(kind, tmp_path, dice, f"{seed}-{n}") for n in "ab")
        data = {"train": [str(first), str(second)], "on_error": dice.choice(["strict", "skip", "replace"])}
        experiment = from_json(FineTuning, {"model": {"preset": "bert"}, "data": data, "task": {"kind": kind}})
        try:
            examples = read_examples(experiment)
            wanted, weights = complete(experiment.task, examples.rows["train"])
            splits = examples.records(build_task(wanted, tokenizer, model.config, class_weights=weights))
        except (UsageError, DataError) as error:  # with any other the test fails
            ends[error.code] += 1
            continue
        ends["used"] += 1
        account = examples.account
        for file, part in ((str(first), rows), (str(second), more)):
            header = {name for row in part for name in row}
            used = {one for column in account.columns.get(file, {}).values() for one in columns_in(column, header)}
            assert used | set(account.unread.get(file, ())) == header or not part
        left = sum(report.skipped + report.blank for report in account.reports.values())
        counts = account.splits.values()
        assert all(count.complete for count in counts)
        assert sum(count.rows for count in counts) + left == len(rows) + len(more)
        assert sum(count.used for count in counts) == sum(map(len, (splits.train, splits.dev, splits.test)))
    assert ends["used"] >= 5, ends
