"""SentencePiece's own models: the same ids without its library, and damage that is named."""

import io

import pytest

from trifold.errors import ModelFileError
from trifold.text import Tokenizer
from trifold.text.sentencepiece import parse

TEXTS = ["the cat sat on the mat", "a dog ran to it quickly", "研究生命的起源", "Ｆull  width, 12 points"] * 30
SEEN = [*TEXTS[:4], "unseen: Ünïcödé ☃", "  spaces   inside ", "the [X] cat[X]", ""]


def train(tmp_path, **more) -> bytes:
    library = pytest.importorskip("sentencepiece")
    made = io.BytesIO()
    settings = {"vocab_size": 120, "hard_vocab_limit": False, "minloglevel": 2, "user_defined_symbols": ["[X]"], **more}
    library.SentencePieceTrainer.train(sentence_iterator=iter(TEXTS), model_writer=made, **settings)
    (tmp_path / "spiece.model").write_bytes(made.getvalue())
    return made.getvalue()


@pytest.mark.parametrize(
    "more",
    [
        {"model_type": "unigram"},
        {"model_type": "unigram", "add_dummy_prefix": False, "remove_extra_whitespaces": False},
        {"model_type": "bpe"},
        {"model_type": "bpe", "byte_fallback": True, "vocab_size": 380},
        {"model_type": "unigram", "normalization_rule_name": "identity"},
    ],
    ids=["unigram", "as it stands", "bpe", "bytes", "identity"],
)
def test_the_ids_are_those_of_sentencepiece(tmp_path, more):
    raw = train(tmp_path, **more)
    import sentencepiece

    theirs, ours = sentencepiece.SentencePieceProcessor(model_proto=raw), Tokenizer.from_pretrained(tmp_path)
    assert ours.kind == ("bpe" if more["model_type"] == "bpe" else "unigram")
    for text in SEEN:
        assert ours.encode(text).ids.tolist() == theirs.encode(text), text


@pytest.mark.parametrize("damage", ["empty", "cut off", "endless number", "odd wire", "characters only"])
def test_d6_a_damaged_model_is_named(tmp_path, damage):
    raw = train(tmp_path, **({"model_type": "char"} if damage == "characters only" else {}))
    bad = {"empty": b"", "cut off": raw[:50], "endless number": b"\xff" * 20, "odd wire": b"\x0b\x00"}.get(damage, raw)
    with pytest.raises(ValueError, match=r"."):
        parse(bad)
    (tmp_path / "spiece.model").write_bytes(bad)
    with pytest.raises(ModelFileError, match=r"spiece\.model"):
        Tokenizer.from_pretrained(tmp_path)


def test_a_folder_of_mt5_with_its_pieces_alone_gives_the_ids_of_transformers(tmp_path):
    import transformers

    train(tmp_path, user_defined_symbols=[], pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (tmp_path / "config.json").write_text('{"model_type": "mt5"}')
    theirs = transformers.T5Tokenizer.from_pretrained(tmp_path, extra_ids=0)
    ours = Tokenizer.from_pretrained(tmp_path)
    assert ours.framing is not None
    for text in filter(None, (one.replace("[X]", "") for one in SEEN)):
        ids = ours.encode(text).ids.tolist()
        assert ours.framing.around(ids) == theirs(text)["input_ids"], text
        assert ours.framing.around(ids, ids) == theirs(text, text)["input_ids"], text


def test_a_byte_that_a_piece_falls_back_to_is_shown_as_one(tmp_path):
    train(tmp_path, model_type="bpe", byte_fallback=True, vocab_size=380)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert [tokenizer.spell(index) for index in tokenizer.encode("☃").ids.tolist()][-3:] == [
        "<0xE2>",
        "<0x98>",
        "<0x83>",
    ]
