"""Folders as people have them are opened as transformers opens them, and converted whole or not at all."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.unit.cli.test_main import call
from trifold.errors import ModelFileError
from trifold.presets.pretrained import Transformer

WORDS = torch.tensor([[5, 6, 7, 8, 9]])
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 40}
T5 = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "vocab_size": 40}
MARIAN = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "vocab_size": 40,
          "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 32,
          "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "forced_eos_token_id": None}  # fmt: skip
MARKS = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
MODELS = {
    "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**BERT)),
    "albert": lambda: transformers.AlbertForMaskedLM(transformers.AlbertConfig(**BERT, embedding_size=8)),
    "roberta": lambda: transformers.RobertaForMaskedLM(transformers.RobertaConfig(**BERT)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=40)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**BERT, tie_word_embeddings=True)),
    "marian": lambda: transformers.MarianMTModel(transformers.MarianConfig(**MARIAN)),
    "modernbert": lambda: transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(
            **BERT, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
        )
    ),
    "t5_v1_1": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
}


@torch.no_grad()
def saved(name: str, folder: Path, *, own_head: bool = False, dtype: torch.dtype = torch.float32) -> None:
    model = MODELS[name]()
    for weight in model.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn_like(weight), alpha=0.2)
    if own_head:
        head = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(torch.randn_like(head.weight))
    model.to(dtype).save_pretrained(folder, max_shard_size="4kb" if own_head else "1GB")


@torch.no_grad()
def both(folder: Path, source: Path | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of transformers reading the folder, and ours."""
    config = json.loads((folder / "config.json").read_text())
    kind = getattr(transformers, config["architectures"][0])
    theirs = kind.from_pretrained(source or folder, dtype=torch.float32, attn_implementation="eager").eval()
    model = Transformer.from_pretrained(folder)
    if model.config.encoder is None:
        return theirs(WORDS).logits, model.head(model.decode(WORDS))
    if model.config.decoder is None:
        return theirs(WORDS, attention_mask=torch.ones_like(WORDS)).logits, model.head(model.encode(WORDS))
    given = {"input_ids": WORDS, "decoder_input_ids": WORDS, "use_cache": False}
    return theirs(**given).logits, model.head(model.decode(WORDS, memory=model.encode(WORDS)))


@pytest.mark.parametrize("own_head", [False, True], ids=["tied", "own head"])
@pytest.mark.parametrize("name", MODELS)
def test_a_folder_and_its_copy_say_what_transformers_says_of_it(tmp_path, capsys, name, own_head):
    """Also where the configuration says that the head is the embedding, and the file holds another one."""
    saved(name, tmp_path / "theirs", own_head=own_head)
    code, out, err = call(capsys, "convert", tmp_path / "theirs", tmp_path / "copy", "--json")
    assert code == 0, err
    assert "tokenizer" in json.loads(out)["left_out"][0]
    for wanted, ours in (both(tmp_path / "theirs"), both(tmp_path / "copy", source=tmp_path / "theirs")):
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    wanted, ours = both(tmp_path / "copy")
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_are_converted_in_the_type_that_they_are_stored_in(tmp_path, capsys, dtype):
    saved("gpt2", tmp_path / "theirs", dtype=dtype)
    assert call(capsys, "convert", tmp_path / "theirs", tmp_path / "copy")[0] == 0
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "copy"))
    assert all(two[name].dtype == dtype and torch.equal(value, two[name]) for name, value in one.items())


def test_old_names_of_norms_are_read(tmp_path):
    saved("bert", tmp_path)
    wanted = Transformer.from_pretrained(tmp_path).state_dict()
    weights = load_file(tmp_path / "model.safetensors")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
           for name, value in weights.items()}  # fmt: skip
    assert old.keys() != weights.keys()
    save_file(old, tmp_path / "model.safetensors")
    found = Transformer.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())


@pytest.mark.parametrize(
    ("name", "copy", "of"),
    [("t5_v1_1", "encoder.embed_tokens.weight", "shared.weight"),
     ("marian", "model.decoder.embed_tokens.weight", "model.shared.weight")],
)  # fmt: skip
def test_a_copy_is_compared_with_what_it_copies(tmp_path, name, copy, of):
    saved(name, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({**weights, copy: weights[of].clone()}, tmp_path / "model.safetensors")
    Transformer.from_pretrained(tmp_path)
    save_file({**weights, copy: weights[of] + 1}, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match=copy):
        Transformer.from_pretrained(tmp_path)


def test_stored_positions_are_compared_with_those_that_are_computed(tmp_path):
    saved("marian", tmp_path)
    weights, name = load_file(tmp_path / "model.safetensors"), "model.encoder.embed_positions.weight"
    table = MODELS["marian"]().model.encoder.embed_positions.weight.detach().clone()
    save_file({**weights, name: table}, tmp_path / "model.safetensors")
    Transformer.from_pretrained(tmp_path)
    save_file({**weights, name: table.flip(0).contiguous()}, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match=name):
        Transformer.from_pretrained(tmp_path)


def test_nothing_stays_of_a_conversion_that_fails(tmp_path, capsys, monkeypatch):
    saved("gpt2", tmp_path / "theirs")
    monkeypatch.setattr("trifold.cli.convert._equal", lambda *_: False)
    code, _, err = call(capsys, "convert", tmp_path / "theirs", tmp_path / "copy")
    assert code == 4 and "same weights" in err
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_what_is_left_out_is_said(tmp_path, capsys):
    saved("gpt2", tmp_path / "theirs")
    data = json.loads((tmp_path / "theirs" / "config.json").read_text())
    (tmp_path / "theirs" / "config.json").write_text(json.dumps({**data, "task_specific_params": {"x": 1}}))
    (tmp_path / "theirs" / "notes.txt").write_text("of ours")
    code, out, _ = call(capsys, "convert", tmp_path / "theirs", tmp_path / "copy")
    assert code == 0 and "task_specific_params" in out and "notes.txt" in out


def test_parts_that_a_folder_cannot_hold_are_refused_by_name(tmp_path, capsys):
    saved("gpt2", tmp_path / "run")
    save_file({"heads.task.tokens.weight": torch.ones(2)}, tmp_path / "run" / "extra.safetensors")
    code, _, err = call(capsys, "convert", tmp_path / "run", tmp_path / "copy")
    assert code == 2 and "heads.task.tokens.weight" in err and not (tmp_path / "copy").exists()
