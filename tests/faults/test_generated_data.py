"""A thousand files as people make them: each row is used or counted, and nothing fails but in our own words.

A file is a recipe: rows of one task, columns renamed, missing and added, odd labels, broken rows, a format and an
encoding. What is written is known, so what is read can be added up.
"""

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from trifold.data import ReadReport, SourceOptions, read
from trifold.data.rows import read_rows
from trifold.errors import TrifoldError

WORDS = "the a good bad film 电影 很 好看 演员 été über naïve “quoted” it's 5\" {brace} [x] | ; , # @ 100% 😀 é".split(
    " "
)
PLAIN_WORDS = "the a good bad film was not so very long and it ended well".split(" ")
LABELS = ["pos", "neg", " pos", "POS", "1", "1.0", "", "true", "中性", "a|b"]
NAMES = {
    "text": ["text", "sentence", "content", " text ", "正文", "Text"],
    "label": ["label", "labels", "target", "类别"],
}
EXTRA = ["id", "url", "Unnamed: 0", "时间", "meta data"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "gb18030", "latin-1", "utf-16-le"]
FORMATS = ["jsonl", "json", "csv", "tsv", "semicolon", "txt", "conll"]


@dataclass
class Recipe:
    """A file, and how many records were written into it."""

    path: Path
    encoding: str
    written: int
    broken: int


def rows_of(chance: random.Random, words: list[str]) -> list[dict[str, str]]:
    """Rows whose columns have one of their usual names, some of which are missing here and there."""
    names = {role: chance.choice(usual).strip() for role, usual in NAMES.items()}
    extra = chance.sample(EXTRA, chance.randrange(3))
    rows = []
    for number in range(chance.randrange(3, 40)):
        row = {
            names["text"]: " ".join(chance.choices(words, k=chance.randrange(1, 9))),
            names["label"]: chance.choice(LABELS),
        }
        row |= {name: str(number) for name in extra}
        rows.append(row)
    return rows


def quoted(cell: str, separator: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in f'{separator}"\n\r') else cell


def as_table(chance: random.Random, rows: list[dict[str, str]], broken: int, separator: str) -> str:
    header = list(rows[0])
    lines = [separator.join(quoted(row[name], separator) for name in header) for row in rows]
    for _ in range(broken):
        bad = chance.choice([separator.join(["x"] * (len(header) + 2)), f'"begun" and{separator}gone'])
        lines.insert(chance.randrange(1, len(lines)), bad)
    return chance.choice(["\n", "\r\n"]).join([separator.join(quoted(name, separator) for name in header), *lines, ""])


def as_lines(chance: random.Random, rows: list[dict[str, str]], broken: int) -> str:
    kept = [
        {key: value for key, value in row.items() if chance.random() < 0.9 or key == next(iter(row))} for row in rows
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in kept]
    for _ in range(broken):
        bad = chance.choice(['{"text": "cut', "[1, 2]", "7", '{"a": NaN}', '{"a": 1, "a": 2}', '{"text": "\\ud800"}'])
        lines.insert(chance.randrange(1, len(lines)), bad)
    return "\n".join(lines)


def as_array(chance: random.Random, rows: list[dict[str, str]], broken: int) -> str:
    items: list = list(rows)
    for _ in range(broken):
        items.insert(chance.randrange(len(items)), chance.choice([7, None, ["x"]]))
    data = chance.choice([items, {"version": 1, "data": items}]) if not broken else items
    return json.dumps(data, ensure_ascii=False, indent=chance.choice([None, 2]))


def as_columns(chance: random.Random, rows: list[dict[str, str]], broken: int) -> str:
    sentences = ["\n".join(f"{word} {chance.choice(['O', 'B-A', 'I-A'])}" for word in next(iter(row.values())).split(" "))
                 for row in rows]  # fmt: skip
    for _ in range(broken):
        sentences.insert(chance.randrange(1, len(sentences)), "one O\ntwo\nthree O")
    return "\n\n".join(sentences) + "\n"


WRITERS: dict[str, Callable[[random.Random, list[dict[str, str]], int], str]] = {
    "jsonl": as_lines,
    "json": as_array,
    "conll": as_columns,
    "csv": lambda chance, rows, broken: as_table(chance, rows, broken, ","),
    "semicolon": lambda chance, rows, broken: as_table(chance, rows, broken, ";"),
    "tsv": lambda chance, rows, broken: as_table(chance, rows, broken, "\t"),
    "txt": lambda chance, rows, broken: "\n".join(next(iter(row.values())) for row in rows),
}


def write_recipe(folder: Path, seed: int) -> Recipe:
    """The file of a seed."""
    chance = random.Random(seed)
    form, encoding = chance.choice(FORMATS), chance.choice(ENCODINGS)
    words = WORDS if encoding != "latin-1" else [*PLAIN_WORDS, "été", "naïve", "über"]
    rows = rows_of(chance, words)
    if encoding == "latin-1":
        rows = [{"text": " ".join(chance.choices(words, k=6)), "label": chance.choice(["pos", "neg"])} for _ in rows]
    broken = chance.choice([0, 0, 1, 3]) if form != "txt" and len(rows) > 3 else 0
    content = WRITERS[form](chance, rows, broken).encode(encoding)
    ending = {"semicolon": "csv"}.get(form, form) + chance.choice(["", "", ".gz"])
    path = folder / f"{seed}.{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    return Recipe(path, encoding, len(rows), broken)


def fails(work: Callable[[], object]) -> TrifoldError | None:
    """What goes wrong in our own words; anything else goes on to the test."""
    try:
        work()
    except TrifoldError as error:
        return error
    return None


def check(folder: Path, seed: int) -> None:
    """Read one file under every policy, as rows and as running text."""
    made = write_recipe(folder, seed)
    marked = made.encoding in ("utf-8", "utf-8-sig", "utf-16")
    encoding = "utf-8" if marked else made.encoding
    report = ReadReport()
    rows = list(read_rows(made.path, SourceOptions(on_error="skip", encoding=encoding), report))
    assert report.rows == len(rows)
    counted = report.rows + report.skipped + report.blank
    assert counted == made.written + made.broken, (seed, counted, made, report)
    assert all(row.origin.startswith(f"{made.path}:") for row in rows)
    for options in ({}, {"encoding": encoding}, {"on_error": "replace"}):
        for reading in (lambda o: list(read_rows(made.path, o)), lambda o: list(read([str(made.path)], o))):
            problem = fails(lambda o=options, r=reading: r(SourceOptions(**o)))
            assert problem is None or (problem.exit_code in (2, 3) and str(made.path) in str(problem)), seed


@pytest.mark.parametrize("start", range(0, 160, 40))
def test_every_row_of_a_generated_file_is_used_or_counted(tmp_path, start):
    for seed in range(start, start + 40):
        check(tmp_path, seed)


@pytest.mark.slow
def test_a_thousand_generated_files(tmp_path):
    for seed in range(1000, 2000):
        check(tmp_path, seed)
