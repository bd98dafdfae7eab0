"""Every command that reads texts takes them alike: in quotes or not, and never the name of a file for a text."""

import json
from argparse import Namespace

import pytest

from trifold.cli.console import Console
from trifold.cli.main import COMMANDS, main
from trifold.cli.option import Request
from trifold.cli.tuned import given_texts
from trifold.errors import UsageError

TAKES = {"classify", "translate", "generate", "fill-mask", "restore"}


def texts(*words, single=False):
    request = Request(values=Namespace(), given=frozenset(), overrides={}, sections={}, console=Console())
    return given_texts(request, words, single=single)


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (("a", "good", "film"), ["a good film"]),
        (("a good film",), ["a good film"]),
        (("a good film", "dull"), ["a good film", "dull"]),
        (("这家酒店很好", "很差"), ["这家酒店很好", "很差"]),
        (("我", "love", "你"), ["我 love 你"]),
        (("-",), ["-"]),
        ((), []),
    ],
)
def test_words_without_quotes_are_one_text_and_texts_in_quotes_are_several(words, read):
    assert texts(*words) == read


def test_a_query_is_one_text_in_any_case():
    assert texts("红楼梦", "作者", single=True) == ["红楼梦 作者"]


def test_that_words_were_taken_together_is_said(capsys):
    texts("good", "film")
    assert "good film" in capsys.readouterr().err


def test_a_file_name_given_as_a_text_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "reviews.tsv").write_text("text\ngood\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"reviews.tsv") as refused:
        texts("reviews.tsv")
    assert refused.value.code == "cli.text_is_file"


@pytest.mark.parametrize("name", sorted(TAKES))
def test_each_command_takes_words_a_file_and_standard_input(name):
    (command,) = (command for command in COMMANDS if command.name == name)
    places = [option for option in command.options if option.positional]
    assert places[-1].many and {"input", "encoding"} <= {option.name for option in command.options}


@pytest.mark.parametrize("command", sorted(TAKES | {"index search"}))
def test_each_command_refuses_the_name_of_a_file(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "book.txt").write_text("text", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    main([*command.split(), "here", "book.txt"])
    said = capsys.readouterr().err
    assert "text_is_file" in said or "no_folder" in said


def test_masks_are_filled_in_words_in_several_texts_and_in_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("the cat sat on a mat and the dog ran.\n" * 200, encoding="utf-8")
    small = ["--steps", "1", "--length", "16", "--vocab-size", "300"]
    assert main(["pretrain", "--data", "a.txt", "--preset", "bert", *small]) == 0
    capsys.readouterr()
    given = {("the", "[MASK]", "sat"): 1, ("--text", "the [MASK] sat"): 1, ("the [MASK]", "[MASK] sat"): 2}
    for words, masks in given.items():
        assert main(["fill-mask", "runs/a", *words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert len(told.get("texts", [told])) == masks
    (tmp_path / "lines.txt").write_text("the [MASK] sat\na [MASK]\n", encoding="utf-8")
    assert main(["fill-mask", "runs/a", "--input", "lines.txt", "--top-k", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "the [MASK] sat"
