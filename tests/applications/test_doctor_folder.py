"""The doctor compares a Hugging Face folder with transformers reading that folder, and names what differs."""

import json
import sys

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.applications.test_runs import call
from trifold.doctor import examine, folder, open_subject
from trifold.presets import pretrained

LINES = ["the quick brown fox jumps over the lazy dog", "今天天气很好，我们去公园散步吧。从前有一座山"] * 20
CHECKS = ("hf_tokens", "hf_logits", "hf_text", "hf_task")
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def byte_pairs(**framing):
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<pad>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(LINES, trainer)
    if framing:
        backend.post_processor = processors.TemplateProcessing(**framing, special_tokens=[("<pad>", 0), ("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>")


def word_pieces():
    backend, names = Tokenizer(models.WordPiece(unk_token="[UNK]")), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        LINES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=names, show_progress=False)
    )
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = {f"{name.strip('[]').lower()}_token": name for name in names}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=inputs, **roles)


def gpt2(kind="GPT2LMHeadModel"):
    shape = transformers.GPT2Config(n_layer=1, n_embd=16, n_head=2, n_positions=64, vocab_size=300, bos_token_id=1,
                                    eos_token_id=1, pad_token_id=0)  # fmt: skip
    return getattr(transformers, kind)(shape), byte_pairs()


def llama():
    shape = transformers.LlamaConfig(**SIZES, num_key_value_heads=1, vocab_size=300, max_position_embeddings=64,
                                     bos_token_id=0, eos_token_id=1)  # fmt: skip
    return transformers.LlamaForCausalLM(shape), byte_pairs(single="<pad> $A", pair="<pad> $A <pad> $B")


def t5(kind="T5ForConditionalGeneration"):
    shape = transformers.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=300,
                                  decoder_start_token_id=0, eos_token_id=1, pad_token_id=0)  # fmt: skip
    return getattr(transformers, kind)(shape), byte_pairs(single="$A </s>", pair="$A </s> $B </s>")


def bert(kind="BertForMaskedLM"):
    shape = transformers.BertConfig(**SIZES, vocab_size=200, max_position_embeddings=64)
    return getattr(transformers, kind)(shape), word_pieces()


def bert_tags():
    return bert("BertForTokenClassification")


FOLDERS = {
    "gpt2": (gpt2, (True, True, True, None)),
    "gpt2_labels": (lambda: gpt2("GPT2ForSequenceClassification"), (True, None, None, True)),
    "llama": (llama, (True, True, True, None)),
    "t5": (t5, (True, True, True, None)),
    "bert": (bert, (True, True, None, None)),
    "bert_body": (lambda: bert("BertModel"), (True, True, None, None)),
    "bert_labels": (lambda: bert("BertForSequenceClassification"), (True, None, None, True)),
    "bert_tags": (bert_tags, (True, None, None, True)),
    "bert_choices": (lambda: bert("BertForMultipleChoice"), (True, None, None, True)),
    "bert_spans": (lambda: bert("BertForQuestionAnswering"), (True, None, None, True)),
}


def write(place, make):
    torch.manual_seed(0)
    for part in make():
        part.save_pretrained(place)
    return place


SLOW = ("gpt2_labels", "bert_body", "bert_tags", "bert_labels")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in FOLDERS]
)
def test_folders_of_transformers_agree(tmp_path, name):
    make, wanted = FOLDERS[name]
    subject = open_subject(str(write(tmp_path / "folder", make)), tmp_path / "place")
    found = list(examine(subject, CHECKS))
    assert tuple(one.passed for one in found) == wanted, found


def test_another_tokenizer_is_caught_and_named(tmp_path, capsys, monkeypatch):
    place = write(tmp_path / "folder", bert)
    read = folder.Tokenizer.from_pretrained

    def cased(path):
        tokenizer = read(path)
        tokenizer.backend.normalizer = normalizers.BertNormalizer(lowercase=False)
        return tokenizer

    monkeypatch.setattr(folder.Tokenizer, "from_pretrained", cased)
    code, out, err = call(capsys, "doctor", place, "--only", "hf_tokens", "--json")
    (said,) = json.loads(out)["checks"]
    assert code == 1 and said["passed"] is False and "naïve café" in said["detail"], (out, err)


@pytest.mark.parametrize(("make", "checks"), [(llama, ("hf_logits", "hf_text")), (bert_tags, ("hf_task",))])
def test_another_weight_is_caught(tmp_path, monkeypatch, make, checks):
    subject = open_subject(str(write(tmp_path / "folder", make)), tmp_path / "place")
    read = pretrained.read_weights

    def other(path):
        return {name: value if "embed" in name or "shared" in name or value.dim() < 2 else -value
                for name, value in read(path).items()}  # fmt: skip

    monkeypatch.setattr(pretrained, "read_weights", other)
    found = list(examine(subject, checks))
    assert all(one.passed is False for one in found), found


def test_without_transformers_the_package_is_named(tmp_path, monkeypatch):
    subject = open_subject(str(write(tmp_path / "folder", gpt2)), tmp_path / "place")
    monkeypatch.setitem(sys.modules, "transformers", None)
    found = list(examine(subject, CHECKS))
    assert all(one.passed is None and "pip install 'trifold[compat]'" in one.detail for one in found)
