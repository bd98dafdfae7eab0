"""Numbers, addresses, placeholders and code survive a translator that learned from pairs alone."""

import csv
import gzip
import os
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.applications.test_tasks import call
from trifold.cli.main import main
from trifold.tasks import LoadedModel, finetune, load
from trifold.tasks.carrying import STAND_INS
from trifold.training import Training

TABLE = Path(__file__).parents[1] / "unit" / "tasks" / "carried_sentences.tsv"
WORDS = {"dog": "狗", "cat": "猫", "bird": "鸟", "tea": "茶", "boat": "船", "house": "房子"}
LEAST = 0.98
Case = tuple[str, list[str]]


def cases() -> list[Case]:
    with TABLE.open(encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["sentence"], row["strings"].split(" ␟ ")) for row in rows]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [(row[0], row[1]) for row in rows[1:]]


def survivors(translator: LoadedModel, wanted: Sequence[Case]) -> float:
    """Share of the strings that stand in the translation as often as in the source, no digit of theirs beside another."""
    kept = total = 0
    for (_, strings), said in zip(wanted, translator.translate([text for text, _ in wanted]), strict=True):
        assert not any(token in said for token in STAND_INS)
        total += len(strings)
        for string, count in Counter(strings).items():
            kept += min(count, len(re.findall(rf"(?<!\d(?=\d)){re.escape(string)}(?!(?<=\d)\d)", said)))
    return kept / total


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Two runs on pairs in which there is nothing to carry: one with stand-ins, one without."""
    pairs = [(f"I see a {one} and a {two}.", f"我看见{WORDS[one]}和{WORDS[two]}。") for one in WORDS for two in WORDS]
    train = tmp_path_factory.mktemp("carrying") / "train.tsv"
    train.write_text("en\tzh\n" + "".join(f"{one}\t{two}\n" for one, two in pairs * 8), encoding="utf-8")
    folders = {}
    for name, verbatim in (("with", "true"), ("without", "false")):
        folders[name] = train.parent / name
        shape = {"num_layers": 1, "d_model": 32, "num_heads": 2, "d_ff": 64}
        options = [f"task.verbatim={verbatim}", "task.beams=2", "task.max_length=48", "--steps", "60"]
        given = ["--overrides", *(f"{key}={value}" for key, value in shape.items())]
        files = ["--train", str(train), "--out", str(folders[name])]
        assert not main(["finetune", "translation", "--model", "vaswani", *files, *options, *given])
    return folders


def test_strings_survive_and_did_not_before(runs):
    assert survivors(load(runs["with"]), cases()) >= LEAST
    assert survivors(load(runs["without"]), cases()) < 0.5


def test_a_run_says_that_it_has_stand_ins_and_its_output_never_shows_one(runs, capsys, tmp_path):
    assert '"verbatim": true' in (runs["with"] / "task.json").read_text()
    file = tmp_path / "lines.txt"
    file.write_text("I see <extra_id_0> and {name} at 17:45.\n\nSee https://example.org/?a. b\n")
    code, out, _ = call(capsys, "translate", runs["with"], "--input", file)
    lines = out.splitlines()
    assert code == 0 and len(lines) == 3 and not lines[1]
    assert all(string in lines[0] for string in ("<extra_id_0>", "{name}", "17:45")) and lines[0].count("extra_id") == 1
    assert "https://example.org/?a" in lines[2]


def test_a_run_that_goes_on_from_it_keeps_them(runs, tmp_path):
    pairs = [("a dog at 5", "狗5"), ("a cat at 7", "猫7")] * 12
    result = finetune(str(runs["with"]), tmp_path / "on", train=pairs, task="translation", training=Training(steps=2))
    assert load(result.folder).require("translation").config.verbatim is True
    assert survivors(load(result.folder), cases()[:20]) >= LEAST


@pytest.mark.slow
@pytest.mark.data
def test_strings_survive_in_real_sentences(tmp_path):
    folder = Path(os.environ["TRIFOLD_DATA"]) / "mt_zh_en" / "tatoeba_cmn"
    train, dev, test = (read_pairs(folder / f"{name}.tsv.gz") for name in ("train", "dev", "test"))
    dice, pool = random.Random(3), sorted({string for _, strings in cases() for string in strings})
    wanted: list[Case] = []
    for line, _ in test[:400]:
        if not re.search(r"\d", line):
            words, strings = line.split(), dice.sample(pool, dice.randint(1, 3))
            for string in strings:
                words.insert(dice.randint(0, len(words)), string)
            wanted.append((" ".join(words), strings))
    result = finetune(
        "vaswani", tmp_path / "run", train=train, dev=dev, task="translation", training=Training(steps=300)
    )
    translator = load(result.folder)
    assert survivors(translator, wanted) >= LEAST
    assert survivors(translator, cases()) >= LEAST
