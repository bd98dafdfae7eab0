"""Marian's folders as they are published: ids, texts and translations are those of transformers."""

import json

import pytest
import sentencepiece
import torch
import transformers

from trifold.data.rows import Row
from trifold.errors import ModelFileError
from trifold.tasks import load
from trifold.text import Tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
SOURCE = ["the quick brown fox jumps over the lazy dog", "a stitch in time saves nine", "to be or not to be",
          "we'll meet at 10.30, won't we?", "naïve café"] * 8  # fmt: skip
TARGET = [
    "今天天气很好，我们去公园散步吧。",
    "从前有一座山，山里有座庙。",
    "敏捷的棕色狐狸跳过懒狗",
    "time 时间 café",
] * 8
TEXTS = [
    "the quick fox", "", " ", "  two  spaces ", "naïve café 公园 €", ">>zho<< to be", ">>zho<<to be or", ">>xyz<< to be",
    "to >>zho<< be", "a</s> b", "a <unk> b", "<pad>", "<s> a", "日本 ü 한국", "tab\tand\nline", "ﬁ ①",
    "a stitch 山 山里",
]  # fmt: skip


def train(lines, path, **settings):
    path.parent.mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(lines),
        model_prefix=str(path.with_suffix("")),
        hard_vocab_limit=False,
        minloglevel=2,
        **settings,
    )
    path.with_suffix(".model").rename(path)
    path.with_suffix(".vocab").unlink()
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [model.id_to_piece(number) for number in range(3, model.vocab_size())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as opus-mt has it; some pieces of the source are not in the vocabulary."""
    place = tmp_path_factory.mktemp("opus") / "en-zh"
    pieces = train(SOURCE, place / "source.spm", vocab_size=60)[:-6] + train(
        TARGET, place / "target.spm", vocab_size=70
    )
    names = list(dict.fromkeys(["</s>", "<unk>", *sorted(pieces), ">>zho<<", "<pad>"]))
    (place / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    (place / "tokenizer_config.json").write_text(
        json.dumps({"source_lang": "en", "target_lang": "zh", "tokenizer_class": "MarianTokenizer"})
    )
    shape = transformers.MarianConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, vocab_size=len(names), decoder_vocab_size=len(names),
        max_position_embeddings=64, pad_token_id=len(names) - 1, eos_token_id=0, decoder_start_token_id=len(names) - 1,
        scale_embedding=True, init_std=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.MarianMTModel(shape)
    model.generation_config.update(num_beams=3, max_length=24, bad_words_ids=[[len(names) - 1]], forced_eos_token_id=0)
    model.save_pretrained(place)
    return place


def test_ids_and_texts_are_those_of_transformers(folder):
    ours, theirs = Tokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert type(theirs).__name__ == "MarianTokenizer"
    framing = ours.framing_for(encoder=True, decoder=True)
    for text in [*TEXTS, *SOURCE, *TARGET]:
        wanted = theirs(text)["input_ids"]
        assert framing.around(ours.encode(text).ids.tolist()) == wanted, text
        target = theirs(text_target=text)["input_ids"]
        assert framing.around(ours.for_target().encode(text).ids.tolist()) == target, text
        for ids in (wanted, target):
            for skip in (True, False):
                assert ours.decode(ids, skip_special=skip) == theirs.decode(ids, skip_special_tokens=skip), (text, skip)
    assert ours.encode("Ω 公").ids.tolist().count(ours.special.unk) >= 1


def test_a_folder_translates_at_once_and_is_written_as_it_was(folder, tmp_path):
    tuned = load(folder)
    records = [tuned.task.record(Row({"source": text}, "#1"), {"source": "source"}) for text in SOURCE[:5]]
    said = [one.answer for one in tuned.task.predict(tuned.model, records)]
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    made = theirs.generate(**tokenizer(SOURCE[:5], return_tensors="pt", padding=True))
    wanted = tokenizer.batch_decode(made, skip_special_tokens=True)
    assert said == wanted
    tuned.model.save_pretrained(tmp_path, tokenizer=tuned.tokenizer)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert all(again(text, text_target=text).data == tokenizer(text, text_target=text).data for text in TEXTS)
    assert Tokenizer.from_pretrained(tmp_path).fingerprint() == tuned.tokenizer.fingerprint()


def test_the_target_is_read_by_its_own_model(folder):
    tuned = load(folder)
    record = tuned.task.record(
        Row({"source": SOURCE[0], "target": TARGET[0]}, "#1"), {"source": "source", "target": "target"}
    )
    example = tuned.task.examples([record])[0][0]
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    wanted = theirs(SOURCE[0], text_target=TARGET[0])
    assert example.source.tolist() == wanted["input_ids"] and example.labels.tolist() == wanted["labels"]


@pytest.mark.parametrize(("name", "data"), [("vocab.json", b'{"a": 0}'),
                                            ("vocab.json", b"[1]"), ("source.spm", b"\x00\x01"),
                                            ("tokenizer_config.json", b'{"separate_vocabs": true}')])  # fmt: skip
def test_what_is_damaged_is_refused_by_name(folder, tmp_path, name, data):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelFileError):
        Tokenizer.from_pretrained(tmp_path)
