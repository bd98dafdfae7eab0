"""Ids of XLM-RoBERTa and ALBERT from a SentencePiece file alone, from `tokenizer.json`, and what is saved of them."""

import io
import json
from pathlib import Path

import pytest
import sentencepiece
import transformers

from trifold.errors import ModelFileError
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer

TEXTS = ["The quick brown fox jumps over the lazy dog.", "研究生命的起源是生物学的重要问题。",
         "Ünïcödé is ﬁne, ① ２ ｆｕｌｌ x = 12345"] * 20  # fmt: skip
MIXED = ["the fox 研究生命 😀", "", "  a\n\tb  ", "Ünïcödé ☃", "</s> <mask> [MASK] x", "a<mask>b the <mask> fox <s>x</s>",
         "混排 English 也行！👩‍👩‍👧", "ﬁne ①  ｆ\u3000x  two   spaces ", "the\u00a0fox ▁x _y", "<unk> <pad>q"]  # fmt: skip


ALBERT = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": ["[CLS]", "[SEP]"],
          "user_defined_symbols": ["[MASK]"]}  # fmt: skip


def write_pieces(folder: Path, name: str = "xlm-roberta", **settings: object) -> None:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=written, vocab_size=61, minloglevel=2, **settings
    )
    file = "spiece.model" if name == "albert" else "sentencepiece.bpe.model"
    (folder / file).write_bytes(written.getvalue())
    (folder / "config.json").write_text(json.dumps({"model_type": name}))


def assert_same(ours: Tokenizer, theirs: transformers.PreTrainedTokenizerBase) -> None:
    ids = {text: ours.encode(text).ids.tolist() for text in MIXED}
    assert ours.framing is not None
    for text in MIXED:
        assert theirs(text, add_special_tokens=False)["input_ids"] == ids[text]
        assert theirs(text)["input_ids"] == ours.framing.around(ids[text])
        for second in filter(None, MIXED):
            assert theirs(text, second)["input_ids"] == ours.framing.around(ids[text], ids[second])


def test_a_sentencepiece_file_alone_gives_the_ids_of_transformers_and_keeps_them(tmp_path: Path) -> None:
    write_pieces(tmp_path)
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "XLMRobertaTokenizer"
    assert_same(ours, theirs)
    assert (ours.special.bos, ours.special.pad, ours.special.eos, ours.special.unk) == (0, 1, 2, 3)
    assert ours.special.mask == ours.vocab_size - 1 == len(theirs) - 1

    theirs.save_pretrained(tmp_path / "theirs")
    assert_same(Tokenizer.from_pretrained(tmp_path / "theirs"), theirs)
    assert_saved("xlm-roberta", ours, theirs, tmp_path / "ours")


def assert_saved(name: str, ours: Tokenizer, theirs: transformers.PreTrainedTokenizerBase, folder: Path) -> None:
    model = Transformer.from_preset(name, size="tiny", num_layers=1, vocab_size=ours.vocab_size)
    model.save_pretrained(folder, tokenizer=ours)
    assert_same(Tokenizer.from_pretrained(folder), theirs)
    assert_same(ours, transformers.AutoTokenizer.from_pretrained(folder))


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"keep_accents": True}], ids=str)
def test_albert_s_pieces_give_the_ids_of_transformers_with_its_settings(
    tmp_path: Path, settings: dict[str, bool]
) -> None:
    write_pieces(tmp_path, "albert", **ALBERT)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "AlbertTokenizer"
    assert_same(ours, theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    assert_same(Tokenizer.from_pretrained(tmp_path / "theirs"), theirs)
    assert_saved("albert", ours, theirs, tmp_path / "ours")


@pytest.mark.parametrize("settings", [{"model_type": "bpe"}, {"user_defined_symbols": ["fox"]}, {"pad_id": 3}])
def test_pieces_that_cannot_be_moved_are_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    write_pieces(tmp_path, **settings)
    with pytest.raises(ModelFileError, match=r"XLM-RoBERTa.*tokenizer\.json"):
        Tokenizer.from_pretrained(tmp_path)
