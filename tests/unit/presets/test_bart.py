"""BART and mBART: published sizes, places of each stack's own, the start of the decoder, and a bias of the logits."""

import json

import numpy as np
import pytest
import torch
import transformers

from trifold.errors import ConfigError
from trifold.presets import build_config
from trifold.presets.pretrained import Transformer
from trifold.tasks import Record, Translation, build_task
from trifold.text import Tokenizer, train_tokenizer
from trifold.training.plan import count_parameters

SMALL = {"vocab_size": 40, "num_layers": 1, "d_model": 16, "num_heads": 2, "max_length": 32}
TEXTS = ["to be or not to be", "that is the question"] * 9
MARKS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}


@pytest.mark.parametrize(("size", "parameters"), [("base", 139_420_416), ("large", 406_291_456)])
def test_the_sizes_are_the_published_ones(size: str, parameters: int) -> None:
    assert count_parameters(build_config("bart", size=size)).total == parameters


def test_each_stack_has_places_of_its_own_and_the_tokens_are_shared() -> None:
    model = Transformer.from_preset("bart", size="tiny", **SMALL)
    assert count_parameters(model.config).total == model.num_parameters()
    assert model.embedding.tokens is model.decoder_embedding.tokens
    assert [name for name, _ in model.named_parameters() if "tokens" in name] == ["embedding.tokens.weight"]
    before = model.eval().decode(torch.tensor([[2, 5]]), memory=torch.zeros(1, 1, 16))
    with torch.no_grad():
        model.embedding.position.weight.zero_()
    assert torch.equal(model.decode(torch.tensor([[2, 5]]), memory=torch.zeros(1, 1, 16)), before)


def test_the_decoder_begins_with_the_end(tmp_path) -> None:
    tokenizer = train_tokenizer(TEXTS, kind="character", vocab_size=40, num_sentinels=2)
    model = Transformer.from_preset("bart", size="tiny", **{**SMALL, "vocab_size": tokenizer.vocab_size})
    model.save_pretrained(tmp_path, tokenizer=tokenizer)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / name).read_text())["decoder_start_token_id"] == tokenizer.special.eos
    task = build_task(Translation(), tokenizer, model.config)
    ((example,),) = task.examples([Record(("to be",), "be to")])
    assert example.target[0] == tokenizer.special.eos and example.source[-1] == tokenizer.special.eos


@pytest.mark.parametrize("name", ["bart", "mbart"])
def test_a_file_without_a_bias_of_the_logits_opens_and_one_with_it_keeps_it(tmp_path, name: str) -> None:
    for biased in (False, True):
        Transformer.from_preset(name, size="tiny", **SMALL, logits_bias=biased).save_pretrained(tmp_path)
        model = Transformer.from_pretrained(tmp_path)
        assert not model.options.logits_bias  # a bias of zeros is none
    with torch.no_grad():
        model = Transformer.from_preset(name, size="tiny", **SMALL, logits_bias=True)
        model.head.output.bias.normal_()
    model.save_pretrained(tmp_path)
    assert torch.equal(Transformer.from_pretrained(tmp_path).head.output.bias, model.head.output.bias)


def test_a_vector_that_stays_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="pad"):
        Transformer.from_preset("bart", size="tiny", **SMALL, pad=1)


def test_a_tokenizer_of_two_files_frames_texts_as_transformers_does_and_a_translator_reads_them_so(tmp_path) -> None:
    learned = json.loads(train_tokenizer(TEXTS, kind="byte_bpe", vocab_size=300).backend.to_str())["model"]
    words = [*MARKS.values(), *(word for word in learned["vocab"] if word not in MARKS.values())]
    (tmp_path / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    merges = [one if isinstance(one, str) else " ".join(one) for one in learned["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**MARKS, "tokenizer_class": "BartTokenizer"}))
    theirs, ours = transformers.BartTokenizer.from_pretrained(tmp_path), Tokenizer.from_pretrained(tmp_path)
    ids = ours.encode("to be").ids.tolist()
    assert ours.framing is not None and ours.framing.around(ids) == theirs("to be")["input_ids"]
    assert ours.framing.around(ids, ids) == theirs("to be", "to be")["input_ids"]
    task = build_task(
        Translation(), ours, build_config("bart", size="tiny", overrides={**SMALL, "vocab_size": len(words)})
    )
    ((example,),) = task.examples([Record(("to be",), "be")])
    assert np.array_equal(example.source, theirs("to be")["input_ids"])
