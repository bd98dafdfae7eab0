"""Tagging through the command line, with the data that people bring: any scheme, any tokens, sentences without spaces."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trifold.cli.main import main

SMALL = (
    "--overrides",
    "num_layers=1",
    "d_model=32",
    "num_heads=2",
    "--vocab-size",
    420,
    "--lr",
    1e-2,
    "--batch-size",
    16,
)
PEOPLE, CITIES = ("张强", "李娜", "王伟"), ("成都", "上海", "北京")


def call(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def tune(capsys, folder: Path, preset: str, rows: list[dict], *more: object, epochs: int = 8) -> tuple[dict, str]:
    folder.mkdir(exist_ok=True)
    train = folder / "train.jsonl"
    train.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, out, err = call(capsys, "finetune", "tagging", "--model", preset, *SMALL, "--train", train, "--out",
                          folder / "run", "--epochs", epochs, "--json", *more)  # fmt: skip
    assert code == 0, err
    return json.loads(out)["judgement"], err


def chinese(count: int, marks: str = "BI", *, before: tuple[str, ...] = ()) -> list[dict]:
    """Someone comes to some city, one tag a character."""
    dice, rows = np.random.default_rng(0), []
    for _ in range(count):
        who, where = str(dice.choice(PEOPLE)), str(dice.choice(CITIES))
        tags = [f"{marks[0]}-PER", f"{marks[1]}-PER", "O", "O", f"{marks[0]}-LOC", f"{marks[1]}-LOC"]
        rows.append({"tokens": [*before, *who, *"来到", *where], "tags": ["O"] * len(before) + tags})
    return rows


@pytest.mark.parametrize(
    ("preset", "marks", "before", "scheme"),
    [("bert", "BI", ("\u200b",), "seqeval (default), BIO"), ("modernbert", "BE", ("👍", ""), "seqeval (default), IOBES"),
     ("gpt2", "BL", (" ",), "seqeval (strict), BILOU")],
)  # fmt: skip
def test_chinese_is_learned_by_character_and_tagged_so(tmp_path, capsys, preset, marks, before, scheme):
    judged, err = tune(capsys, tmp_path, preset, chinese(80, marks, before=before))
    assert judged["metrics"]["entity_f1"]["value"] == 1.0
    assert judged["signatures"]["entity_f1"] == scheme and scheme in err
    code, out, err = call(capsys, "classify", tmp_path / "run", "张强来到成都", "--json")
    (found,) = json.loads(out)["answers"]
    assert code == 0 and found["inputs"] == list("张强来到成都"), err
    if not before:
        assert [(one["type"], one["text"], one["start"], one["end"]) for one in found["entities"]] == [
            ("PER", "张强", 0, 2), ("LOC", "成都", 4, 6)]  # fmt: skip


def test_entities_are_told_with_their_places_in_the_text(tmp_path, capsys):
    rows = [{"text": "".join(row["tokens"]), "tags": row["tags"]} for row in chinese(40)]
    for who, where in [(who, where) for who in ("Anna Meyer", "Otto Berg") for where in ("Berlin", "Rome", "Kiel")] * 3:
        rows += [{"text": f"{who} lives in {where} .", "tags": "B-PER I-PER O O B-LOC O"},
                 {"text": f"{where} , {who} !", "tags": ["B-LOC", "O", "B-PER", "I-PER", "O"]}]  # fmt: skip
    judged, _ = tune(capsys, tmp_path, "bert", rows, epochs=10)
    assert judged["metrics"]["entity_f1"]["value"] > 0.9
    (tmp_path / "in.txt").write_text("李娜来到北京\n\nBerlin,  Anna Meyer!\n", encoding="utf-8")
    code, out, err = call(capsys, "classify", tmp_path / "run", "--input", tmp_path / "in.txt", "--json")
    assert code == 0, err
    found = [one["entities"] for one in json.loads(out)["answers"] if one["inputs"]]
    told = [[(one["type"], one["text"], one["start"], one["end"]) for one in part] for part in found]
    assert told == [
        [("PER", "李娜", 0, 2), ("LOC", "北京", 4, 6)],
        [("LOC", "Berlin", 0, 6), ("PER", "Anna Meyer", 9, 19)],
    ]
    assert all(0 < one["score"] <= 1 for part in found for one in part)
    code, out, _ = call(capsys, "classify", tmp_path / "run", "李娜来到北京")
    assert out.startswith("B-PER I-PER O O B-LOC I-LOC\t") and out.endswith("\tPER: 李娜\tLOC: 北京\n")


@pytest.mark.parametrize(
    "words", [list("走跑山听木看"), pytest.param("walk run hill hear wood see".split(), marks=pytest.mark.slow)]
)
def test_a_decoder_tags_a_word_when_it_has_read_it(tmp_path, capsys, words):
    dice = np.random.default_rng(0)
    drawn: list[list[Any]] = [[str(word) for word in dice.choice(words, 8)] for _ in range(160)]
    rows = [{"tokens": row, "tags": ["NV"[words.index(word) % 2] for word in row]} for row in drawn]
    judged, err = tune(capsys, tmp_path, "gpt2", rows, epochs=6)
    assert judged["metrics"]["tag_accuracy"]["value"] == 1.0 and "entity_f1" not in judged["metrics"]
    assert "2 tags; a text is cut into" in err


def test_words_beyond_the_longest_input_are_tagged_too(tmp_path, capsys):
    dice, words = np.random.default_rng(0), "walk run hill hear wood see".split()
    drawn: list[list[Any]] = [[str(word) for word in dice.choice(words, 30)] for _ in range(60)]
    rows = [{"tokens": row, "tags": ["NV"[words.index(word) % 2] for word in row]} for row in drawn]
    judged, _ = tune(capsys, tmp_path, "bert", rows, "task.max_length=12", epochs=4)
    assert judged["metrics"]["tag_accuracy"]["value"] == 1.0
    code, out, _ = call(capsys, "classify", tmp_path / "run", " ".join(["walk", "run"] * 50), "--json")
    assert code == 0 and json.loads(out)["answers"][0]["answer"] == ["N", "V"] * 50


def test_numbers_for_tags_are_said_to_need_names(tmp_path, capsys):
    rows = [{"tokens": row["tokens"], "ner_tags": [1, 2, 0, 0, 3, 10]} for row in chinese(30)]
    judged, err = tune(capsys, tmp_path, "bert", rows, epochs=1)
    assert list(judged["metrics"]) == ["tag_accuracy"] and "--label-names O B-PER" in err
    saved = json.loads((tmp_path / "run" / "task.json").read_text(encoding="utf-8"))["task"]
    assert saved["labels"] == ["0", "1", "2", "3", "10"] and saved["units"] == "characters"
    names = ("--label-names", "O", "B-PER", "I-PER", "B-LOC", "10=I-LOC")
    judged, _ = tune(capsys, tmp_path / "named", "bert", rows, *names)
    assert judged["metrics"]["entity_f1"]["value"] == 1.0
    _, out, _ = call(capsys, "classify", tmp_path / "named" / "run", "王伟来到成都", "--json")
    assert [one["text"] for one in json.loads(out)["answers"][0]["entities"]] == ["王伟", "成都"]


def test_a_tagger_from_before_units_were_kept_is_used_as_it_was_or_refused(tmp_path, capsys):
    rows = [{"tokens": ["Anna", "sang", "."], "tags": ["B-PER", "O", "O"]}] * 30
    for preset, kind, wanted in (("bert", "wordpiece", 0), ("bert", "byte_bpe", 4), ("gpt2", "byte_bpe", 4)):
        tune(capsys, tmp_path / f"{preset}-{kind}", preset, rows, f"tokenizer.kind={kind}", epochs=1)
        saved = tmp_path / f"{preset}-{kind}" / "run" / "task.json"
        before = json.loads(saved.read_text(encoding="utf-8"))
        assert before["task"].pop("units") == "words"
        saved.write_text(json.dumps(before), encoding="utf-8")
        code, out, err = call(capsys, "classify", saved.parent, "Anna sang.", "--json")
        assert code == wanted, err
        if code == 0:
            assert json.loads(out)["answers"][0]["inputs"] == ["Anna", "sang."]
        else:
            assert "trifold finetune tagging" in err
