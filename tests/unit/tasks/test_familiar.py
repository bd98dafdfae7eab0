"""A text of another kind than those that a model learned from is called so, once; others never are."""

import gzip
import json
import warnings
from contextlib import contextmanager

import pytest

from tests.unit.tasks.test_pace import EXPERIMENT
from trifold import finetune, load
from trifold.cli.main import main
from trifold.errors import ConfigError
from trifold.tasks import Record, Translation
from trifold.tasks.familiar import Familiar
from trifold.text.script import main_script
from trifold.training.description import DESCRIPTION

REVIEWS = [(f"a {word} film about a dog, number {number}", word) for number in range(30) for word in ("good", "dull")]
DOGS = [
    (f"the dog number {number} is on a hill", f"der Hund Nummer {number} ist auf einem Berg") for number in range(60)
]


@pytest.mark.parametrize(
    ("text", "script"),
    [("Good morning", "latin"), ("ＧＯＯＤ　ＭＯＲＮＩＮＧ", "latin"), ("今天天气", "han"), ("おはようございます", "kana"),
     ("안녕하세요", "hangul"), ("Доброе утро", "cyrillic"), ("OK!", None), ("12345 67890 ...", None),
     ("我买了 iPhone 12", None), ("苹果公司发布了 iPhone 12 手机", "han")],
)  # fmt: skip
def test_a_text_tells_its_script_where_it_is_long_enough_and_not_mixed(text, script):
    assert main_script(text) == script


def test_a_translator_of_one_alphabet_knows_its_sides_by_their_words():
    familiar = Familiar.learned([Record(*pair) for pair in DOGS], translates=True)
    assert familiar.strange("der Hund ist auf einem Berg") == "target"
    assert familiar.strange("the dog is on a hill") is None and familiar.strange("le chien est grand") is None
    assert familiar.strange("狗在一座山上面") == "han"


@contextmanager
def quietly():
    """No warning comes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def translator(tmp_path):
    pairs = [(english, f"山上有第{number}只狗") for number, (english, _) in enumerate(DOGS)]
    finetune("vaswani", tmp_path / "run", train=pairs, task=Translation(beams=1, max_length=16), epochs=0.2)
    return tmp_path / "run"


def test_a_translator_warns_once_of_the_language_it_translates_into(translator, capsys):
    loaded = load(translator)
    with quietly():
        loaded.translate(["the dog is on a hill", "OK"])
    with pytest.warns(UserWarning, match="translates from Latin letters into Chinese characters"):
        loaded.translate(["the dog is on a hill", "山上有一只狗", "狗在山上面"])
    with quietly():
        loaded.translate(["狗在山上面"])
    with pytest.warns(UserWarning, match="this text is in Chinese characters"):
        assert main(["translate", str(translator), "山上有一只狗"]) == 0


def test_a_classifier_warns_and_an_older_run_does_not(tmp_path):
    run = finetune(EXPERIMENT, tmp_path / "run", train=REVIEWS, epochs=0.2).folder
    with pytest.warns(UserWarning, match="fine-tuned on texts in Latin letters; this one is in Cyrillic letters"):
        load(run).classify(["очень хороший фильм"])
    description = (run / "trifold.json").read_text(encoding="utf-8")
    (run / "trifold.json").write_text(description.replace('"texts"', '"something"'), encoding="utf-8")
    with quietly():
        load(run).classify(["очень хороший фильм"])


@pytest.mark.parametrize(
    "texts", [None, [], {"words": "dog"}, {"scripts": {"latin": "all"}}, {"scripts": {"latin": 2}}]
)
def test_a_damaged_description_is_refused_by_name(tmp_path, texts):
    (tmp_path / DESCRIPTION).write_text(json.dumps({"experiment": {}, "texts": texts}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"trifold\.json: texts"):
        Familiar.of_run(tmp_path)


@pytest.mark.data
def test_false_alarms_are_rare_on_real_texts(data_dir):
    def column(name: str, number: int) -> list[str]:
        lines = gzip.decompress((data_dir / f"{name}.tsv.gz").read_bytes()).decode().splitlines()[1:]
        return [line.split("\t")[number] for line in lines]

    for name, train, number, most in (
        ("sentiment_en/sst2", "train", 1, 0),
        ("sentiment_zh/chnsenticorp", "train", 1, 1),
    ):
        familiar = Familiar.learned([Record(text) for text in column(f"{name}/{train}", number)])
        assert sum(familiar.strange(text) is not None for text in column(f"{name}/test", number)) <= most
    for name, test, sides in (
        ("mt_zh_en/tatoeba_cmn", "test", (0, 1)),
        ("mt_en_de/multi30k", "test_2016_flickr", (0, 1)),
    ):
        for here, there in (sides, sides[::-1]):
            pairs = zip(column(f"{name}/train", here), column(f"{name}/train", there), strict=True)
            familiar = Familiar.learned([Record(source, target) for source, target in pairs], translates=True)
            right, wrong = column(f"{name}/{test}", here), column(f"{name}/{test}", there)
            assert not any(familiar.strange(text) for text in right)
            assert sum(familiar.strange(text) is not None for text in wrong) >= 0.95 * len(wrong)
