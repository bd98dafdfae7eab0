"""`trifold generate` beside what it stands for."""

import json
from pathlib import Path

import pytest

from trifold.cli.main import main
from trifold.generation import Generator, Sampling
from trifold.presets.pretrained import Transformer
from trifold.text import train_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["to be or not to be, that is the question"], kind="byte_bpe", vocab_size=400)
    tokenizer.save_pretrained(folder)
    Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size, max_length=48).save_pretrained(folder)
    return folder


def told(capsys, *words: object) -> list[dict]:
    assert main(["generate", *map(str, words), "--max-tokens", "8", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["generations"]


def test_answer_k_is_the_one_of_seed_plus_k(model, capsys):
    found = told(capsys, model, "to be", "or not", "--n", 3, "--seed", 5)
    assert [(one["prompt"], one["seed"]) for one in found] == [
        (text, 5 + k) for text in ("to be", "or not") for k in range(3)
    ]
    generator = Generator.from_pretrained(model)
    for one in found:
        (alone,) = generator.generate(one["prompt"], Sampling(max_tokens=8, seed=one["seed"]))
        assert (one["text"], one["ids"]) == (alone.text, list(alone.ids))
        assert one["logprobs"] == pytest.approx(alone.logprobs, abs=1e-5)
        assert len(one["tokens"]) == len(one["ids"])
    drawn = told(capsys, model, "to be", "--n", 2)
    assert drawn[1]["seed"] == drawn[0]["seed"] + 1


@pytest.mark.parametrize("options", [["--temperature", "0"], ["--beams", "2"]])
def test_answers_that_would_all_be_the_same_are_refused(model, capsys, options):
    assert main(["generate", str(model), "to be", "--n", "2", *options]) == 2
    assert "nothing is random" in capsys.readouterr().err


def test_beams_with_a_penalty_and_without_repetition(model, capsys):
    (one,) = told(capsys, model, "to be", "--beams", 3, "--length-penalty", 2, "--no-repeat-ngram", 2)
    wanted = Sampling(max_tokens=8, beams=3, length_penalty=2.0, no_repeat_ngram=2)
    assert one["text"] == Generator.from_pretrained(model).generate("to be", wanted)[0].text


def test_a_long_prompt_is_refused_with_advice_that_works(model, capsys):
    prompt = "to be or not to be " * 20
    assert main(["generate", str(model), prompt, "--max-tokens", "8"]) == 2
    said = capsys.readouterr().err
    for side in ("left", "right"):
        assert f"--truncate {side}" in said
        assert main(["generate", str(model), prompt, "--max-tokens", "8", "--truncate", side, "--seed", "1"]) == 0
        assert "tokens at its" in capsys.readouterr().err
        assert told(capsys, model, prompt, "--truncate", side)[0]["prompt_cut"] > 0


def test_special_tokens_are_text_unless_special(model, capsys):
    plain, special = (told(capsys, model, "to be</s>", "--seed", 1, *more)[0]["ids"] for more in ([], ["--special"]))
    assert plain != special


def test_one_line_in_one_line_out_blank_lines_and_line_breaks_too(model, capsys, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("to be\n\nor not\n", "utf-8")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "to be\\nor"}\n{"text": ""}\n{"text": "not"}\n', "utf-8")
    for file in (lines, rows):
        assert main(["generate", str(model), "--input", str(file), "--max-tokens", "8", "--seed", "1"]) == 0
        said = capsys.readouterr().out.split("\n")
        assert len(said) == 4 and said[1] == said[3] == "" and said[0].startswith("to be")
