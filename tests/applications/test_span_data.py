"""Reading comprehension from the files that people have: published nesting, answers without places, broken rows."""

import json
from pathlib import Path

import pytest

from trifold.cli.main import main

WORDS = (
    "finetune",
    "span_qa",
    "--model",
    "bert",
    "--overrides",
    "num_layers=1",
    "d_model=16",
    "num_heads=2",
    "--vocab-size",
    "300",
    "--steps",
    "1",
    "--batch-size",
    "8",
    "--json",
)
NAMES = ("Anna", "Otto", "Li Na", "王伟")


def tune(capsys, folder: Path, text: str, name: str, *more: object) -> tuple[int, str, str]:
    (folder / name).write_text(text, encoding="utf-8")
    code = main([*WORDS, "--train", str(folder / name), "--out", str(folder / "run"), *map(str, more)])
    said = capsys.readouterr()
    return code, said.out, said.err


def rows(count: int, **changed) -> list[dict]:
    made = []
    for number in range(count):
        who = NAMES[number % 4]
        context = f"{who} sang {number}. Then {who} slept."
        start = context.rindex(who)
        made.append(
            {
                "question": f"who slept {number}?",
                "context": context,
                "answers": {"text": [who], "answer_start": [start]},
            }
            | changed
        )
    return made


def lines(found: list[dict]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in found)


def nested(found: list[dict]) -> str:
    """As SQuAD 2.0 and CMRC 2018 are published; every third question has no answer."""
    paragraphs = []
    for number, row in enumerate(found):
        answers = [{"text": row["answers"]["text"][0], "answer_start": row["answers"]["answer_start"][0]}]
        none = number % 3 == 0
        qas = {
            "id": str(number),
            "question": row["question"],
            "is_impossible": none,
            "answers": [] if none else answers,
        }
        qas |= {"plausible_answers": answers} if none else {}
        paragraphs.append({"context": row["context"], "qas": [qas]})
    return json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}, ensure_ascii=False)


def test_a_published_file_is_read_as_it_is(tmp_path, capsys):
    code, out, err = tune(capsys, tmp_path, nested(rows(40)), "squad.json")
    assert code == 0 and "impossible = is_impossible" in err and "plausible_answers" in err, err
    assert json.loads(out)["judgement"]["n"] > 0 and "left out 0" not in err
    saved = json.loads((tmp_path / "run" / "task.json").read_text(encoding="utf-8"))["task"]
    assert saved["threshold"] is not None and saved["match"] is False, "questions without answers are held out too"


def test_answers_without_a_place_are_found_and_the_guesses_said(tmp_path, capsys):
    found = [row | {"answers": row["answers"]["text"][0]} for row in rows(20)]
    code, _, err = tune(capsys, tmp_path, lines(found), "train.jsonl")
    assert code == 0 and "20 answers stand in several places" in err, err
    table = "question\tcontext\tanswer\tanswer_start\n" + "\n".join(
        f"{row['question']}\t{row['context']}\t{row['answers']['text'][0]}\t{row['answers']['answer_start'][0]}"
        for row in rows(20)
    )
    code, _, err = tune(capsys, tmp_path, table, "train.tsv", "--out", tmp_path / "table")
    assert code == 0 and "start = answer_start" in err and "several places" not in err, err


@pytest.mark.parametrize(
    ("answers", "part", "why"),
    [
        ({"text": ["Anna", "Otto"], "answer_start": [0]}, "2 texts but 1 places", "differ in number 1"),
        ({"text": ["Anna"], "answer_start": ["x"]}, "answer_start is 'x'", "answer_start is no number 1"),
        ({"text": ["Nobody"]}, "'Nobody'", "answer not in its context 1"),
    ],
)
def test_a_broken_answer_stops_the_run_or_is_counted_as_its_error_advises(tmp_path, capsys, answers, part, why):
    text = lines([*rows(20), rows(1, answers=answers)[0] | {"question": "and?"}])
    code, _, err = tune(capsys, tmp_path, text, "train.jsonl")
    assert code == 3 and part in err and ":21" in err and "data.on_error=skip" in err, err
    code, _, err = tune(capsys, tmp_path, text, "train.jsonl", "data.on_error=skip")
    assert code == 0 and why in err, err


def test_long_questions_are_counted(tmp_path, capsys):
    found = rows(20)
    found[3]["question"] += " and so on" * 60
    code, _, err = tune(capsys, tmp_path, lines(found), "train.jsonl")
    assert code == 0 and "(task.max_question)" in err, err
