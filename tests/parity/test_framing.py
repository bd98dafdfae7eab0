"""Everybody's tokenizer gives Trifold's ids, and Trifold those of other people's folders; generation settings likewise."""

import json
from pathlib import Path

import numpy as np
import pytest
import transformers
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors

from tests.parity.families import PADDED_BY_1, SEGMENTED
from trifold.generation import Generator
from trifold.presets import PRESETS
from trifold.presets.pretrained import Transformer
from trifold.tasks.frame import Frame, pack
from trifold.tasks.writing import prompt_ids
from trifold.text import Tokenizer, train_tokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog.\n",
    "研究生命的起源是生物学的重要问题。\n",
    "x = 12345 😀\n",
] * 20
MIXED = ["the fox 研究生命 😀", "", "  a\n\tb  ", "Ünïcödé ☃", "</s> <mask> [MASK] x", "混排 English 也行！👩‍👩‍👧"]
SIZES = {"num_layers": 1, "d_model": 32, "num_heads": 2}


def small(name: str, tokenizer: Tokenizer) -> Transformer:
    offset = {"offset": (tokenizer.special.pad or 0) + 1} if name in PADDED_BY_1 else {}
    return Transformer.from_preset(name, size="tiny", vocab_size=tokenizer.vocab_size, **SIZES, **offset)


@pytest.mark.parametrize("kind", ["byte_bpe", "bpe", "wordpiece", "unigram", "character"])
def test_transformers_frames_texts_and_pairs_as_trifold_does(tmp_path: Path, kind: str) -> None:
    made = train_tokenizer(TEXTS, kind=kind, vocab_size=500)  # type: ignore[arg-type]
    for name in PRESETS:
        small(name, made).save_pretrained(tmp_path / name, tokenizer=made)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / name)
        ours = Tokenizer.from_pretrained(tmp_path / name)
        assert ours.fingerprint() == made.fingerprint()
        assert ours.framing is not None
        ids = {text: ours.encode(text).ids.tolist() for text in MIXED}
        for text in MIXED:
            assert theirs(text)["input_ids"] == ours.framing.around(ids[text]), name
            for second in filter(None, MIXED):
                assert theirs(text, second)["input_ids"] == ours.framing.around(ids[text], ids[second]), name
        assert ("token_type_ids" in theirs("a", "b")) == (name in SEGMENTED)


def write_folder(folder: Path, processor: object, settings: dict[str, object]) -> Path:
    """A decoder of somebody else."""
    learned = json.loads(train_tokenizer(TEXTS, kind="byte_bpe", vocab_size=400).backend.to_str())["model"]
    merges = [tuple(one) if isinstance(one, list) else tuple(one.split(" ")) for one in learned["merges"]]
    backend = Backend(models.BPE(learned["vocab"], merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "</s>"])
    backend.post_processor = processor
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


BOS = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 2)])
FOLDERS = {
    "gpt2": (processors.ByteLevel(trim_offsets=True), {"bos_token": "</s>", "eos_token": "</s>"}),
    "llama3": (processors.Sequence([processors.ByteLevel(), BOS]), {"bos_token": "<s>", "eos_token": "</s>"}),
    "no start": (None, {"bos_token": None, "eos_token": "</s>"}),
    "asked for": (None, {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}),
    "switched off": (BOS, {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": False}),
    "both": (BOS, {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True, "add_eos_token": True}),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_start_token_is_put_where_the_folders_own_tokenizer_puts_it(tmp_path: Path, name: str) -> None:
    processor, settings = FOLDERS[name]
    folder = write_folder(tmp_path, processor, {"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    generator = Generator(small("gpt2", ours), ours)
    for text in filter(None, MIXED):
        plain = ours.encode(text).ids.tolist()
        assert generator.framing.around(plain) == theirs(text)["input_ids"]
        assert generator.framing.around(plain, plain) == theirs(text, text)["input_ids"]
    if settings["bos_token"] is None:
        assert ours.special.bos is None


@pytest.mark.parametrize("typed", [True, False])
def test_a_pair_has_segments_where_the_folders_tokenizer_gives_types(tmp_path: Path, typed: bool) -> None:
    made = train_tokenizer(TEXTS, kind="wordpiece", vocab_size=400)
    small("bert", made).save_pretrained(tmp_path, tokenizer=made)
    if not typed:
        backend = Backend.from_file(str(tmp_path / "tokenizer.json"))
        cls, sep = made.special.cls, made.special.sep
        backend.post_processor = processors.RobertaProcessing(("[SEP]", sep), ("[CLS]", cls))
        backend.save(str(tmp_path / "tokenizer.json"))
    ours, theirs = Tokenizer.from_pretrained(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    frame = Frame(ours, Transformer.from_pretrained(tmp_path).config, 64)
    ids, _ = frame.lay([ours.encode("the fox").ids, ours.encode("lazy dog").ids])
    batch, _ = pack([frame.each(ids, np.zeros_like(ids))], frame.pad)
    found = frame.marked(batch, match=False).source_layout
    said = theirs("the fox", "lazy dog")
    assert ids.tolist() == said["input_ids"] and found is not None
    if typed:
        assert found.segments is not None and found.segments[0, : len(ids)].tolist() == said["token_type_ids"]
    assert typed == any(said["token_type_ids"]) == (found.segments is not None)


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_that_are_too_long_lose_the_side_that_the_folder_says(tmp_path: Path, side: str) -> None:
    made = train_tokenizer(["the cat sat on the mat and the dog ran to the sun"] * 9, kind="wordpiece", vocab_size=200)
    model = Transformer.from_preset("bert", size="tiny", vocab_size=made.vocab_size, num_layers=1)
    framed = made.framed(made.usual_framing(encoder=True, decoder=False), typed=True)
    framed.save_pretrained(tmp_path, settings={"truncation_side": side})
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_pretrained(tmp_path)
    frame = Frame(ours, model.config, 10)
    for texts in (
        ["the cat sat on the mat and the dog ran"],
        ["the cat sat on the mat", "the dog ran to the sun and sat"],
    ):
        found = frame.fitted(ours.encode_ids(texts, plain=True), 0).source
        assert found is not None and found.tolist() == theirs(*texts, truncation=True, max_length=10)["input_ids"]
    (long,) = ours.encode_ids([texts[0] + " and the dog ran"], plain=True)
    assert prompt_ids(frame, long, 6)[1:-1] == (long[-4:] if side == "left" else long[:4]).tolist()
