"""Tokenizers that put a language beside a text (mBART, mBART-50): the ids of transformers, whichever language is set."""

import json

import pytest
import transformers

from trifold.errors import ModelFileError
from trifold.text import Tokenizer

PIECES = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁the", -1.0), ("▁cat", -1.5),
          *((letter, -3.0) for letter in "abcdehst研究生命"), ("en_XX", 0.0), ("ro_RO", 0.0), ("zh_CN", 0.0),
          ("<mask>", 0.0)]  # fmt: skip
TEXTS = ["the cat", "a bad  hat", "研究 生命", "the <mask> cat</s>"]


@pytest.mark.parametrize("language", ["en_XX", "ro_RO", None])
@pytest.mark.parametrize("kind", ["MBartTokenizer", "MBart50Tokenizer"])
def test_the_language_stands_where_transformers_puts_it(tmp_path, kind, language):
    getattr(transformers, kind)(vocab=list(PIECES), src_lang="en_XX").save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "src_lang": language}))
    theirs, ours = getattr(transformers, kind).from_pretrained(tmp_path), Tokenizer.from_pretrained(tmp_path)
    assert ours.framing is not None
    for text in TEXTS:
        ids = ours.encode(text).ids.tolist()
        assert ours.framing.around(ids) == theirs(text)["input_ids"], text
        assert ours.framing.around(ids, ids) == theirs(text, text)["input_ids"], text
    ours.save_pretrained(tmp_path / "again")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again(TEXTS)["input_ids"] == theirs(TEXTS)["input_ids"]


def test_a_language_that_is_no_token_and_pieces_alone_are_refused(tmp_path):
    transformers.MBartTokenizer(vocab=list(PIECES)).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "src_lang": "xx_XX"}))
    with pytest.raises(ModelFileError, match="src_lang"):
        Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"\n\x05")
    with pytest.raises(ModelFileError, match=r"tokenizer\.json"):
        Tokenizer.from_pretrained(tmp_path)
