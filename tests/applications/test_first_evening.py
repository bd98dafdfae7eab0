"""The first evening of a new user: a novel, reviews, notes and sentence pairs, and nothing but what has to be said."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from trifold.cli.main import main

SENTENCES = {
    "en": ["the rain fell on the old town and nobody went out.", "she opened the letter and read it twice.",
           "a train passed by the river, and the lamps were lit.", "he asked for tea, but there was none left."],
    "zh": ["雨落在旧城上，没有人出门。", "她打开信，读了两遍。", "火车沿着河边开过，灯都亮了。",
           "他要一杯茶，可是已经没有了。"],
}  # fmt: skip
REVIEWS = {
    "en": (("label", "review"), {"good": "a fine, moving film", "bad": "a dull and empty film"}),
    "zh": (("标签", "评论"), {"好": "这家酒店干净又安静", "差": "这家酒店又脏又吵"}),
}
PAIRS = {"en": ("en", "zh"), "zh": ("中文", "英文")}
ANIMALS = {"狗": "dog", "猫": "cat", "鸟": "bird", "马": "horse", "羊": "sheep"}
COURSES = {
    "en": ("course,teacher,room", "algebra,Mr Wang,room 101", "Who is the teacher of algebra?", "Mr Wang"),
    "zh": ("课程,教师,教室", "线性代数,王老师,二教101", "线性代数的教师是谁？", "王老师"),
}
NOTES = {
    "en": ("The Nile is the longest river of Africa. It flows north.", ["longest", "river"], "Nile"),
    "zh": ("长江是中国最长的河流。它向东流入大海。", ["最长的河流"], "长江"),
}
CHATS = {"en": ("question", "answer"), "zh": ("问题", "回答")}
SMALL = ["--vocab-size", "400", "--overrides", "num_layers=1", "d_model=32", "num_heads=2"]
HAN = re.compile("[\u4e00-\u9fff]")


def write(path: str, *rows: tuple[str, ...]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    Path(path).write_text(text.getvalue(), encoding="utf-8")


@pytest.fixture(params=["en", "zh"])
def language(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIFOLD_LANG", request.param)
    tongue, dice = request.param, np.random.default_rng(0)
    novel = "\n\n".join("".join(dice.choice(SENTENCES[tongue], 5)) for _ in range(120))
    Path("novel.txt").write_text(novel, encoding="utf-8")
    header, said = REVIEWS[tongue]
    write("reviews.csv", header, *((label, f"{text}{n}") for n in range(30) for label, text in said.items()))
    pairs = [(f"{n}只{zh}", f"{n} {en}s") for n in range(2, 42) for zh, en in ANIMALS.items()]
    write("pairs.csv", PAIRS[tongue], *(pairs if tongue == "zh" else (pair[::-1] for pair in pairs)))
    write("chats.csv", CHATS[tongue], *((f"{zh}?", f"{en}.") for zh, en in list(ANIMALS.items()) * 4))
    Path("notes").mkdir()
    Path("notes/rivers.md").write_text(NOTES[tongue][0], encoding="utf-8")
    Path("notes/courses.csv").write_text("\n".join(COURSES[tongue][:2]), encoding="utf-8")
    return tongue


@pytest.fixture
def call(language, capsys):
    """Run a command; what it said, in the language that was asked for, and never half a character."""

    def run(*words: str, code: int = 0) -> str:
        found = main(list(words))
        said = capsys.readouterr()
        assert found == code, said.err
        notes = [line for line in said.err.splitlines() if line.strip()]
        assert language == "en" or all(HAN.search(line) for line in notes), notes
        assert "\ufffd" not in said.out and "Traceback" not in said.err
        return said.out + said.err

    return run


def test_from_a_text_to_a_model_that_writes_and_a_page(language, call):
    said = call("pretrain", "--data", "novel.txt", "--steps", "12", "--length", "32", "--size", "tiny")
    assert "runs/novel" in said and "report.html" in said and ("gram" in said)
    page = Path("runs/novel/report.html").read_text(encoding="utf-8")
    assert f'lang="{language}"' in page and "-gram" in page and "<pre>" in page and "\ufffd" not in page
    begin = {"en": ["the", "rain"], "zh": ["雨落在"]}[language]
    assert call("generate", "runs/novel", *begin, "--max-tokens", "8", "--seed", "1").startswith(" ".join(begin))
    known = call("evaluate", "runs/novel", "--data", "novel.txt")
    assert {"en": "per word", "zh": "每字困惑度"}[language] in known and max(map(len, known.split())) < 60
    assert "runs/novel" in call("generate", "runs/novle", "x", code=4)
    assert "--input" in call("generate", "runs/novel", "novel.txt", code=2)
    assert "runs/novel-2" in call("pretrain", "--data", "novel.txt", "--from", "runs/novel", "--steps", "2",
                                  "--length", "32")  # fmt: skip


def test_from_reviews_to_labels_and_from_pairs_to_a_translation(language, call):
    said = call("finetune", "sentiment", "--train", "reviews.csv", "--epochs", "1", *SMALL)
    text, label = REVIEWS[language][0][::-1]
    assert f"text = {text}, label = {label}" in said and "runs/sentiment" in said
    label, review = list(REVIEWS[language][1].items())[1]
    assert call("classify", "runs/sentiment", *review.split()).splitlines()[0].split("\t")[0] == label
    source, target = PAIRS[language]
    said = call("finetune", "translation", "--train", "pairs.csv", "--steps", "3", "--vocab-size", "400")
    assert f"source = {source}, target = {target}" in said
    call("translate", "runs/translation", "3 dogs", "4 cats")
    call("report", "runs/sentiment", "runs/translation")
    told = call("finetune", "sentimnt", "--train", "nowhere.csv", "--learning-rate", "1", code=2)
    assert told.count("\n  - ") == 3 and "nowhere.csv" in told and "'--lr'" in told and "'sentiment'" in told


def test_from_notes_to_a_first_answer_and_from_chats_to_an_assistant(language, call, monkeypatch):
    call("index", "build", "notes", "--out", "runs/kb")
    _, _, question, answer = COURSES[language]
    assert answer in call("ask", "--kb", "runs/kb", question)
    _, words, found = NOTES[language]
    assert found in call("index", "search", "runs/kb", *words)
    call("finetune", "generation", "--train", "chats.csv", "--steps", "3", "--vocab-size", "400", "--out", "runs/a")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("狗?\n".encode())))
    call("chat", "runs/a", "--temperature", "0", "--max-tokens", "5")
