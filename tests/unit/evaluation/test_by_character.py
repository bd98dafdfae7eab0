"""Figures on text say something: of Chinese by characters, and with a word where there is too little of it."""

import pytest

from trifold.cli.main import main
from trifold.data import Example
from trifold.evaluation.language_model import evaluate_examples
from trifold.generation.output import Growing
from trifold.objective.config import Causal
from trifold.presets.pretrained import Transformer
from trifold.text import StreamDecoder, train_tokenizer

CHINESE = ["今天天气很好，我们去公园散步。", "他读了一本关于历史的书。"] * 20
ENGLISH = ["the weather is fine today and we walk in the park.", "he read a book on history."] * 20


def score(texts):
    tokenizer = train_tokenizer(texts, vocab_size=300)
    model = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size, num_layers=1)
    return evaluate_examples(model, tokenizer, [Example((text,)) for text in texts], objective=Causal(), length=64)


def test_chinese_has_a_perplexity_per_character_and_english_one_per_word():
    chinese, english = score(CHINESE), score(ENGLISH)
    assert chinese.word_perplexity is None and chinese.words is None
    assert chinese.characters == sum(map(len, CHINESE)) and english.characters is None
    assert english.character_perplexity is None and english.words is not None and english.word_perplexity is not None


def test_no_figure_is_printed_with_hundreds_of_digits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("\n".join(CHINESE), encoding="utf-8")
    (tmp_path / "b.txt").write_text("のはがをに" * 200, encoding="utf-8")  # no words, and no Han
    small = ["--steps", "1", "--length", "16", "--vocab-size", "300", "--preset", "gpt2"]
    assert main(["pretrain", "--data", "a.txt", *small]) == 0
    assert "tokens are there to judge by" in capsys.readouterr().err
    for name in ("a.txt", "b.txt"):
        assert main(["evaluate", "runs/a", "--data", name]) == 0
        said = capsys.readouterr()
        assert max(map(len, said.out.split())) < 20
        assert ("perplexity per character" in said.out) == (name == "a.txt")
        assert "tokens are there to judge by" in said.err


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_text_never_shows_part_of_a_character(cut):
    data = b"\xe5\x85" + "早上好".encode() + b"\xff\xfe" + "é".encode()
    growing = Growing(StreamDecoder(lambda ids: bytes(ids).decode(errors="replace")), {0}, [], limit=cut)
    shown = "".join(growing.push(byte, 0.0) for byte in data[:cut])
    assert "\ufffd" not in shown and growing.result().text == shown
    assert growing.result().ids == tuple(data[:cut])
