import copy

import pytest
import torch
import torch.nn.functional as F

from tests.bounds import assert_same_sums
from tests.shapes import WRITERS, build
from trifold.cli.main import main
from trifold.generation import Generator, Sampling, linear, lower_precision
from trifold.generation.linear import FEW, ROWS, Int8Linear, PackedLinear, RoundedLinear
from trifold.model import Transformer, config
from trifold.model.block import FeedForward
from trifold.native import onednn_multiplies_bfloat16
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.text import train_tokenizer

TEXT = "the quick brown fox jumps over the lazy dog and the lazy dog sleeps on. " * 40


@pytest.mark.parametrize("rows", [1, FEW, FEW + 1])
@pytest.mark.parametrize("bias", [False, True])
def test_few_and_many_rows_give_what_the_rounded_weights_give(rows, bias):
    torch.manual_seed(0)
    plain = torch.nn.Linear(64, 48, bias=bias).to(torch.bfloat16)
    rounded = Int8Linear(plain)
    x = torch.randn(rows, 64, dtype=torch.bfloat16)
    exact = x.double() @ (rounded.weight.double() * rounded.scale.double()[:, None]).T
    exact = exact if plain.bias is None else exact + plain.bias.double()
    torch.testing.assert_close(rounded(x).double(), exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("inputs", [1, 64])
@torch.inference_mode()
def test_whole_numbers_on_both_sides_stay_near_with_a_kernel_and_without(monkeypatch, dtype, inputs):
    torch.manual_seed(0)
    plain = torch.nn.Linear(inputs, 48).to(dtype)
    x = torch.randn(30, inputs, dtype=dtype)
    exact = plain(x).float()
    for kernel in (linear.load_kernel, lambda: None):
        monkeypatch.setattr(linear, "load_kernel", kernel)
        made = RoundedLinear(plain)(x).float()
        assert float((made - exact).norm() / exact.norm()) < 0.02


@pytest.mark.skipif(not onednn_multiplies_bfloat16(), reason="oneDNN makes no products of bfloat16 here")
@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("bias", [False, True])
def test_packed_weights_give_the_same_numbers(rows, bias):
    torch.manual_seed(0)
    plain = torch.nn.Linear(96, 160, bias=bias).to(torch.bfloat16)
    x = torch.randn(3, rows, 96, dtype=torch.bfloat16)
    with torch.inference_mode():
        assert_same_sums(PackedLinear(plain)(x), plain(x), terms=96)
        made = PackedLinear(plain, gelu=True)(x).float()
        torch.testing.assert_close(made, F.gelu(plain.float()(x.float())), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("gated", [False, True])
@torch.inference_mode()
def test_a_feed_forward_s_activation_is_computed_once_wherever_it_is_computed(activation, gated):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(
        FeedForward(config.FeedForward(d_ff=96, activation=activation, gated=gated), d_model=32)
    )
    x = torch.randn(2, 20, 32)
    exact = plain(x)
    made = lower_precision(plain, "bfloat16")(x.bfloat16()).float()
    assert float((made - exact).norm() / exact.norm()) < 0.01


def test_a_row_of_zeros_and_a_row_of_one_large_weight_stay_what_they_are():
    plain = torch.nn.Linear(32, 2, bias=False)
    with torch.no_grad():
        plain.weight.zero_()
        plain.weight[1, 3] = -5.0
    rounded = Int8Linear(plain)
    assert torch.equal(rounded.weight.float() * rounded.scale[:, None], plain.weight)


@pytest.mark.parametrize("name", WRITERS)
def test_every_product_becomes_int8_and_the_embedding_stays(name):
    model = lower_precision(build(name).float(), "int8")
    assert isinstance(model, Transformer)
    assert not any(isinstance(part, torch.nn.Linear) for part in model.modules())
    assert model.embedding.tokens.weight.dtype == torch.bfloat16


@pytest.fixture(scope="module")
def trained():
    """A model that knows a text by heart, its tokenizer, and the text."""
    tokenizer = train_tokenizer([TEXT], kind="byte_bpe", vocab_size=300)
    torch.manual_seed(0)
    model = Pretrained.from_preset("llama", size="tiny", num_layers=2, vocab_size=tokenizer.vocab_size, max_length=64)
    ids = torch.tensor(tokenizer.encode(TEXT).ids.tolist()[:520]).reshape(-1, 65)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):  # until it knows the text by heart, on every processor
        loss = F.cross_entropy(model.head(model.decode(ids[:, :-1])).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval(), tokenizer, ids


@pytest.mark.parametrize("rows", [0, 10_000])
def test_perplexity_in_eight_bits_is_within_half_a_percent(rows, monkeypatch, trained):
    """By torch's product and by our own, which decoding uses."""
    monkeypatch.setitem(ROWS, torch.int8, rows)
    model, tokenizer, ids = trained
    perplexity = {}
    for precision in ("float32", "int8"):
        lean = lower_precision(copy.deepcopy(model), precision)
        with torch.no_grad():
            logits = lean.head(lean.decode(ids[:, :-1])).float()
        perplexity[precision] = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).exp().item()
    assert perplexity["int8"] == pytest.approx(perplexity["float32"], rel=5e-3)
    greedy, prompt = Sampling(temperature=0.0, max_tokens=20), ids[0, :20].tolist()
    exact = Generator(model, tokenizer).generate([prompt], greedy)[0].ids
    assert Generator(lean, tokenizer).generate([prompt], greedy)[0].ids == exact == tuple(ids[0, 20:40].tolist())


def test_generate_takes_a_precision_and_refuses_others(tmp_path, capsys, trained):
    model, tokenizer, _ = trained
    model.save_pretrained(tmp_path / "model", tokenizer=tokenizer)
    words = ["generate", str(tmp_path / "model"), "--prompt", "the quick", "--max-tokens", "4", "--temperature", "0"]
    said = {}
    for precision in ("float32", "bfloat16", "int8"):
        assert main([*words, "--precision", precision]) == 0
        said[precision] = capsys.readouterr().out
    assert said["int8"] == said["float32"]
    assert main([*words, "--precision", "int4"]) == 2
    assert "float32, bfloat16, int8" in capsys.readouterr().err
