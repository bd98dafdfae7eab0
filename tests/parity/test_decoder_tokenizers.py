"""Tokenizers as the folders of Qwen3 and Gemma 3 have them: the ids of transformers, read and written."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend

from trifold.presets import PRESETS
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer

LEARNED = ["The quick brown fox jumps over the lazy dog.\n", "研究生命的起源是生物学的重要问题。\n", "x = 12345\n"] * 20
TEXTS = [
    "the fox 研究生命 😀",
    "  a\n\tb  ",
    "Ünïcödé ☃ e\u0301",
    "don't 2,024\r\n\r\nwe'll",
    "混排 English 也行！👩‍👩‍👧",
    " ",
]


def _qwen() -> tuple[Backend, dict[str, Any]]:
    """Bytes, in the composed form of Unicode; nothing before a text, marks of conversations as added tokens."""
    backend = Backend(models.BPE())
    backend.normalizer = normalizers.NFC()
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    words += r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    split = pre_tokenizers.Split(Regex(words), behavior="isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder, backend.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False)
    backend.train_from_iterator(LEARNED, trainer)
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return backend, {"tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": "<|im_end|>",
                     "pad_token": "<|endoftext|>", "unk_token": None, "add_bos_token": False}  # fmt: skip


def _gemma() -> tuple[Backend, dict[str, Any]]:
    """Characters, and bytes for those that are unknown; spaces are a letter; `<bos>` stands before each text."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    backend = Backend(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))], show_progress=False
    )
    backend.train_from_iterator(LEARNED, trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(one) for one in model["merges"]]
    again = Backend(models.BPE(model["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        setattr(again, part, getattr(backend, part))
    again.add_special_tokens([AddedToken(one, normalized=False) for one in special])
    again.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    return again, {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
                   "unk_token": "<unk>", "mask_token": "<mask>", "add_bos_token": True, "add_eos_token": False}  # fmt: skip


@pytest.mark.parametrize(("family", "make"), [("qwen3", _qwen), ("gemma3_text", _gemma)])
def test_texts_have_the_ids_of_transformers_and_keep_them_when_saved(tmp_path: Path, family: str, make: Any) -> None:
    backend, settings = make()
    given, saved = tmp_path / "given", tmp_path / "saved"
    given.mkdir()
    backend.save(str(given / "tokenizer.json"))
    (given / "tokenizer_config.json").write_text(json.dumps(settings))
    (given / "config.json").write_text(json.dumps({"model_type": family, **PRESETS[family].small}))
    ours = Tokenizer.from_pretrained(given)
    model = Transformer.from_preset(family, size="tiny", num_layers=1, vocab_size=ours.vocab_size)
    model.save_pretrained(saved, tokenizer=ours)
    theirs, again = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (given, saved))
    first = [2] if family == "gemma3_text" else []
    for text in TEXTS:
        ids = ours.encode(text).ids.tolist()
        assert theirs(text)["input_ids"] == again(text)["input_ids"] == first + ids, text
        assert ours.framing is None or ours.framing.around(ids) == first + ids
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)
    assert Tokenizer.from_pretrained(saved).fingerprint() == ours.fingerprint()
