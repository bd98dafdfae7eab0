"""What people give a model by mistake is refused in plain words, and what they ask of it is answered."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from jaxtyping import config

import trifold
from trifold import Batch, Layout, Transformer
from trifold.errors import ModelFileError, UsageError
from trifold.generation import Generator
from trifold.text import train_tokenizer

SMALL = {"size": "tiny", "vocab_size": 400, "num_layers": 1, "d_model": 32, "num_heads": 2}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["to be or not to be"] * 9, kind="byte_bpe", vocab_size=300)


@pytest.fixture(scope="module")
def models():
    decoder = Transformer.from_preset("gpt2", **SMALL, max_length=16)
    encoder = Transformer.from_preset("bert", **SMALL, max_length=16)
    return {"decoder": decoder, "encoder": encoder, "pair": Transformer.from_preset("t5", **SMALL)}


def row(*ids: int) -> torch.Tensor:
    return torch.tensor([ids])


def both(ids: torch.Tensor) -> Batch:
    layout = Layout.whole(*ids.shape)
    return Batch(source=ids, source_layout=layout, target=ids, target_layout=layout)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m["decoder"](both(row(1, 999))), "999 is none of the model's: they run from 0 to 399"),
        (lambda m: m["decoder"](both(row(1, -1))), "-1 is none of the model's"),
        (lambda m: m["encoder"].encode(row(400)), "400 is none"),
        (lambda m: m["pair"](both(row(1, 400))), "400 is none"),
        (lambda m: m["decoder"](both(torch.zeros(1, 17, dtype=torch.long))), "17 tokens is longer than the 16"),
        (lambda m: m["encoder"].encode(torch.zeros(1, 20, dtype=torch.long)), "20 tokens is longer than the 16"),
        (lambda m: m["decoder"](Batch()), "lacks"),
        (lambda m: m["pair"](Batch(target=row(1), target_layout=Layout.whole(1, 1))), "reads a source"),
        (lambda m: m["pair"](Batch(source=row(1), source_layout=Layout.whole(1, 1))), "reads a target"),
        (lambda m: m["decoder"].encode(row(1)), "no encoder"),
        (lambda m: m["encoder"].decode(row(1)), "no decoder"),
        (lambda m: Batch(target=torch.tensor([1, 2])), "come in rows"),
        (lambda m: Batch(target=row(1, 2, 3), target_layout=Layout.whole(1, 2)), "[1, 3]"),
        (lambda m: Batch(target=row(1, 2), target_layout=Layout.padded(torch.tensor([2, 1]))), "[2, 2]"),
        (lambda m: Batch(target=row(1), source=torch.ones(2, 1, dtype=torch.long)), "2 rows and target 1"),
        (lambda m: trifold.language_model_loss(m["decoder"], both(row(1, 2))), "no labels"),
    ],
)
def test_input_that_does_not_fit_a_model_is_refused_in_plain_words(models, call, words):
    config.left = 0  # the tests' own check of shapes would be first
    with pytest.raises(UsageError) as caught:
        call(models)
    assert words in str(caught.value)


def test_ids_that_are_none_are_refused_where_text_is_written_or_read(models, tokenizer):
    generator = Generator(models["decoder"], tokenizer)
    for ids in ([[99_999]], [[-3]]):
        with pytest.raises(UsageError, match="none of the model's"):
            generator.generate(ids)
    with pytest.raises(UsageError, match="-100"):
        tokenizer.decode(np.array([5, -100]))
    assert tokenizer.decode([5_000]) == tokenizer.decode([]) == ""
    with pytest.raises(UsageError, match="is empty"):
        Generator(models["decoder"], tokenizer).generate([[]])
    assert Layout.padded(torch.zeros(0, dtype=torch.long)).positions.shape == (0, 0)


def test_a_model_says_where_it_is_and_how_many_weights_it_has_and_trains(models):
    model = Transformer.from_preset("gpt2", **SMALL)
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.bfloat16().dtype == torch.bfloat16
    whole = model.num_parameters()
    model.embedding.requires_grad_(False)
    frozen = sum(weight.numel() for weight in model.embedding.parameters())
    assert model.num_parameters() == whole and model.num_parameters(trainable=True) == whole - frozen


@pytest.mark.parametrize("kind", ["decoder", "encoder", "pair"])
def test_a_body_alone_is_read_and_written(models, kind, tmp_path):
    models[kind].save_pretrained(tmp_path / "whole")
    body = Transformer.from_pretrained(tmp_path / "whole", head=None)
    batch = both(row(1, 2, 3))
    assert torch.equal(body(batch), models[kind].eval()(batch))
    with pytest.raises(ModelFileError, match="no language-model head"):
        body.head(body(batch))
    body.save_pretrained(tmp_path / "body")
    again = Transformer.from_pretrained(tmp_path / "body")
    assert torch.equal(again(batch), body(batch))


SCRIPT = """
import torch
import trifold
from trifold import Batch, Layout, Transformer

model = Transformer.from_preset("gpt2", size="tiny")
batch = Batch(target=torch.tensor([[1, 2]]), target_layout=Layout.whole(1, 2))
reveal_type(model(batch))
assert model.decoder is not None
reveal_type(model.decoder.blocks[0].attention)
reveal_type(model.attention_weights(batch).decoder[0])
reveal_type(model.device)
loaded = trifold.load("run")
reveal_type(loaded.generate("to be")[0].text)
reveal_type(loaded.classify(["a film"])[0])
model.num_parameters(trainable=True)
"""


@pytest.mark.slow
def test_a_type_checker_knows_what_a_script_gets(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    types = [line.rsplit('"', 2)[-2] for line in done.stdout.splitlines() if "Type of" in line]
    assert types == ["Tensor", "Residual", "Tensor", "device", "str", "Prediction"]


def _add(model: Transformer) -> None:
    model.extra = torch.nn.Linear(3, 3)


def _swap(model: Transformer) -> None:
    model.decoder.blocks[0].feed_forward.branch.up_proj = torch.nn.Sequential(torch.nn.Linear(32, 8))


def _shrink(model: Transformer) -> None:
    model.decoder.blocks[0].attention.branch.q_proj.weight = torch.nn.Parameter(torch.ones(16, 32))


def _append(model: Transformer) -> None:
    model.decoder.blocks.append(model.decoder.blocks[0].__class__(model.decoder.blocks[0].config, 32))


def _buffer(model: Transformer) -> None:
    model.register_buffer("table", torch.ones(3))


@pytest.mark.parametrize("change", [_add, _swap, _shrink, _append, _buffer])
def test_a_model_with_parts_that_its_folder_would_lose_is_not_saved(change, tmp_path):
    model = Transformer.from_preset("gpt2", **SMALL)
    change(model)
    with pytest.raises(UsageError, match="other weights than its configuration says"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
