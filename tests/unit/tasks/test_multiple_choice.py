"""Multiple choice: rows of the usual data sets, the loss of Hugging Face's classes, and runs of every family."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import trifold
from trifold.cli.main import main
from trifold.data.rows import Row
from trifold.errors import DataError, UsageError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Record, judge
from trifold.tasks.equip import equip
from trifold.tasks.frame import pack
from trifold.tasks.given import rows_of
from trifold.tasks.multiple_choice import MultipleChoice, MultipleChoiceTask
from trifold.tasks.record import place_rows
from trifold.text import train_tokenizer

TEXTS = ["which animal barks in the night ?", "a dog", "a cat", "the old stone on the hill", "谁 在 叫 ？", "狗", "猫"]
TOKENIZER = train_tokenizer(TEXTS * 20, kind="byte_bpe", vocab_size=340)
RECORDS = [
    Record((TEXTS[0], *TEXTS[1:4]), "a dog"),
    Record((TEXTS[4], "狗", "猫"), "猫"),
    Record(("what is old ?", "a cat", "the stone", "x", "y"), "the stone"),
]
PEOPLE = ["Anna", "Boris", "Clara", "David", "Emma", "Felix"]

ROWS = {
    "SWAG": (
        [
            {"startphrase": "q", "gold-source": "x", **{f"ending{n}": one for n, one in enumerate("wxyz")}, "label": 2},
            {"startphrase": "q", **{f"ending{n}": one for n, one in enumerate("wxyz")}, "label": 0},
        ],
        "y",
    ),
    "HellaSwag": (
        [{"ctx": "q", "endings": list("wxyz"), "label": "3"}, {"ctx": "q", "endings": list("wxyz"), "label": "0"}],
        "z",
    ),
    "RACE": ([{"article": "long", "question": "q", "options": list("wxyz"), "answer": "B"}], "x"),
    "ARC": ([{"question": "q", "choices": {"text": list("wxyz"), "label": list("1234")}, "answerKey": "4"}], "z"),
    "CommonsenseQA": (
        [{"question": "q", "choices": {"label": list("ABC"), "text": list("wxy")}, "answerKey": "A"}],
        "w",
    ),
    "C-Eval": ([{"question": "q", "A": "w", "B": "x", "C": "y", "D": "z", "answer": "C"}], "y"),
    "WinoGrande": ([{"sentence": "q", "option1": "w", "option2": "x", "answer": "2"}], "x"),
    "numbers as candidates": (
        [
            {"question": "q", "choices": ["3", "0", "1"], "answer": 1},
            {"question": "q", "choices": ["3", "0", "1"], "answer": 0},
        ],
        "0",
    ),
    "the text itself": ([{"question": "q", "choices": "['good', 'bad']", "label": "bad"}], "bad"),
    "a letter behind an empty cell": (
        [{"question": "q", "choices": ["w", None, "y", "z"], "answer": "C"}],
        "y",
    ),
    "a number behind an empty column": (
        [
            {
                "question": "q",
                **dict(zip(("ending0", "ending1", "ending2", "ending3"), made, strict=True)),
                "label": label,
            }
            for made, label in ((("w", "", "y", "z"), 2), ("wxyz", 0))
        ],
        "y",
    ),
    "fewer than columns": ([{"question": "q", "A": "w", "B": "x", "C": None, "answer": "(b)"}], "x"),
}


def task_of(model: Transformer, config: MultipleChoice | None = None) -> MultipleChoiceTask:
    task = (config or MultipleChoice()).build(TOKENIZER, model.config)
    equip(model, task)
    return task


def made(preset: str) -> Transformer:
    torch.manual_seed(1)
    return Transformer.from_preset(preset, size="tiny", vocab_size=TOKENIZER.vocab_size, num_layers=1)


@pytest.fixture(scope="module")
def task():
    return task_of(made("gpt2"))


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_read_as_people_write_them(task, name):
    rows, wanted = ROWS[name]
    placed = place_rows([Row(row, f"a.jsonl:{n}") for n, row in enumerate(rows, 1)], MultipleChoice.roles, {})
    config, _ = MultipleChoice().complete(placed)
    task = MultipleChoiceTask(config, TOKENIZER, made("gpt2").config)
    record = task.record(*placed[0])
    assert record.gold == wanted and record.inputs[0].startswith("q") and record.gold in record.inputs[1:]
    assert ("long" in record.inputs[0]) == (name == "RACE")


def test_examples_in_hand_are_records_texts_or_lists():
    wanted = {"question": TEXTS[4], "choices": ["狗", "猫"], "label": "猫"}
    given = [RECORDS[1], (TEXTS[4], "狗", "猫", "猫"), (TEXTS[4], ["狗", "猫"], "猫"), wanted]
    assert list(rows_of(given, "multiple_choice")) == [wanted] * 4
    (told,) = rows_of([("q", "a story", ["a", "b"], 1)], "multiple_choice")  # the order that the refusal below names
    assert told == {"question": "q", "context": "a story", "choices": ["a", "b"], "label": 1}
    with pytest.raises(DataError, match="question, context, choices, label"):
        list(rows_of([("q", "a")], "multiple_choice"))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"choices": ["a"], "label": "A"}, "task.few_choices"),
        ({"choices": ["a", None], "label": "A"}, "task.few_choices"),
        ({"choices": ["a", "b"], "label": "C"}, "task.unknown_choice"),
        ({"choices": ["a", "b"], "label": -1}, "task.unknown_choice"),
        ({"choices": ["a", "b"], "label": None}, "task.missing_value"),
    ],
)
def test_what_is_no_choice_is_refused(task, values, code):
    with pytest.raises(DataError) as error:
        task.record(Row({"question": "q", **values}, "a:1"), {name: name for name in ("question", *values)})
    assert error.value.code == code


@pytest.mark.parametrize("preset", ["bert", "modernbert", "gpt2", "llama", "t5", "vaswani"])
def test_the_loss_is_cross_entropy_over_candidates_whatever_shares_the_batch(preset):
    model = made(preset)
    task = task_of(model)
    model.double().eval()
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.2)
    said = task.predict(model, RECORDS)
    assert [len(one.logits) for one in said] == [3, 2, 4]
    wanted = 0.0
    for record, one in zip(RECORDS, said, strict=True):
        gold = torch.tensor(record.inputs.index(record.gold, 1) - 1)
        wanted += F.cross_entropy(torch.tensor(one.logits, dtype=torch.float64), gold).item()
        assert task.predict(model, [record])[0].answer == one.answer
        assert one.confidence == pytest.approx(np.max(one.details["probabilities"]), abs=1e-6)
    batch, _ = pack([one for part in task.examples(RECORDS) for one in part], task.frame.pad)
    loss = task.loss(model, batch)
    assert loss.weight == len(RECORDS) and loss.sum.item() == pytest.approx(wanted, rel=1e-9)


def test_equal_candidates_and_baselines(task):
    twice = Record(("q", "a b c", "x", "x"), "x")
    assert [int(one.labels.max()) for one in task.examples([twice])[0]] == [0, 1, 0]
    model = made("gpt2")
    equip(model, task)
    found = judge(task, [twice], task.predict(model, [twice]), train=[twice] * 3)
    assert found["baselines"]["longest"]["accuracy"]["value"] == 0.0
    assert found["baselines"]["majority_place"]["accuracy"]["value"] == 1.0
    assert {"random", "longest", "majority_place"} == found["baselines"].keys() and "risk_coverage" in found


def rows(count: int) -> str:
    """Who does it is in the question, and one of the candidates."""
    lines = []
    for number in range(count):
        names = [PEOPLE[(number + step * (1 + number // 6 % 2)) % 6] for step in range(3)]
        right = number * 7 % 3
        lines.append({"question": f"{names[right]} sings .", "choices": names, "answer": "ABC"[right]})
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.parametrize("preset", ["bert", "gpt2", "t5"])
def test_a_run_is_trained_saved_loaded_and_judged(preset, tmp_path, capsys):
    (tmp_path / "train.jsonl").write_text(rows(24))
    (tmp_path / "test.jsonl").write_text(rows(12))
    out = tmp_path / "run"
    assert (
        main(
            [
                "finetune",
                "multiple_choice",
                "--model",
                preset,
                "--size",
                "tiny",
                "--overrides",
                "num_layers=1",
                "--train",
                str(tmp_path / "train.jsonl"),
                "--test",
                str(tmp_path / "test.jsonl"),
                "--vocab-size",
                "300",
                "--steps",
                "3",
                "--out",
                str(out),
                "--json",
            ]
        )
        == 0
    )
    judged = json.loads(capsys.readouterr().out)["judgement"]
    assert judged["task"] == "multiple_choice" and judged["n"] == 12 and "longest" in judged["baselines"]
    assert main(["evaluate", str(out), "--data", str(tmp_path / "test.jsonl"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["metrics"]["accuracy"]["value"] == judged["metrics"]["accuracy"]["value"]
    loaded = trifold.load(out)
    asked = ("Anna sings .", "Boris", "Anna", "Clara")
    said, row = loaded.predict([asked, {"question": asked[0], "choices": list(asked[1:])}])
    assert said.answer in asked[1:] and said.logits == pytest.approx(row.logits, rel=1e-5)
    assert loaded.evaluate([asked], ["B"])["metrics"]["accuracy"]["value"] == float(said.answer == "Anna")
    assert [one.answer for one in loaded.classify([asked])] == [said.answer]
    assert main(["classify", str(out), "--input", str(tmp_path / "test.jsonl"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert len(answers) == 12 and all(one["answer"] == one["inputs"][1 + one["choice"]] for one in answers)
    with pytest.raises(DataError, match="candidates"):
        loaded.predict(["Anna sings ."])
    with pytest.raises(UsageError):
        loaded.translate([asked])


def test_a_small_model_learns_which_candidate_the_question_names():
    records = [
        Record((row["question"], *row["choices"]), row["choices"]["ABC".index(row["answer"])])
        for row in map(json.loads, rows(36).splitlines())
    ]
    tokenizer = train_tokenizer(PEOPLE * 9 + ["sings ."] * 9, kind="byte_bpe", vocab_size=300)
    torch.manual_seed(1)
    model = Transformer.from_preset(
        "gpt2", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1, d_model=32, num_heads=2
    )
    task = MultipleChoice(match=True).build(tokenizer, model.config)
    equip(model, task)
    batch, _ = pack([one for part in task.examples(records) for one in part], task.frame.pad)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss = task.loss(model.train(), batch)
        (loss.sum / loss.weight).backward()
        optimizer.step()
    found = judge(task, records, task.predict(model, records), train=records)
    reached, beside = found["metrics"]["accuracy"]["value"], found["baselines"]["majority_place"]["accuracy"]["value"]
    assert reached > 0.9 and beside < 0.5


def placed(rows):
    return [(Row(row, f"a.csv:{number}"), {name: name for name in row}) for number, row in enumerate(rows, 2)]


def test_labels_are_texts_where_all_of_them_are_and_not_all_are_places():
    rows = [{"question": "q", "choices": ["2", "3", "4"], "label": label} for label in ("2", "4")]
    config, _ = MultipleChoice().complete(placed(rows))
    assert config.label_as == "text"
    chooser = config.build(TOKENIZER, made("gpt2").config)
    assert [chooser.record(*one).gold for one in placed(rows)] == ["2", "4"]


def test_labels_that_are_texts_and_places_of_others_are_refused_until_it_is_said_which():
    rows = placed([{"question": "q", "choices": ["b", "a"], "label": label} for label in "ab"])
    with pytest.raises(DataError, match="label_as"):
        MultipleChoice().complete(rows)
    for said, wanted in (("text", ["a", "b"]), ("place", ["b", "a"])):
        config, _ = MultipleChoice(label_as=said).complete(rows)
        chooser = config.build(TOKENIZER, made("gpt2").config)
        assert [chooser.record(*one).gold for one in rows] == wanted
