"""Compiled passes: near float64 for every shape, the same alone and among others, and with any number of threads."""

import os
import shutil
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trifold import native
from trifold.acceleration import accelerate
from trifold.acceleration.linear import FastLinear
from trifold.acceleration.simple import FastDropout, FastLayerNorm, FastRMSNorm
from trifold.batch import Batch, Layout
from trifold.generation import kernel
from trifold.model import Transformer
from trifold.native import passes as module
from trifold.native import product
from trifold.native.passes import load_passes
from trifold.presets import build_config

compiled = pytest.mark.skipif(load_passes() is None, reason="no compiler")
NEAR = 0.01


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def distance(made: Tensor, wanted: Tensor) -> float:
    """Of one another, as a share of the wanted one's length."""
    assert made.shape == wanted.shape
    assert made.dtype == torch.bfloat16
    return float((made.double() - wanted).norm() / wanted.norm().clamp(min=1e-12))


def compare(ours: nn.Module, plain: nn.Module, x: Tensor) -> list[float]:
    """Result and gradients of a module in bfloat16, beside those of its twin in float64."""
    ours.load_state_dict({name: value.bfloat16() for name, value in plain.state_dict().items()})
    plain.load_state_dict(ours.state_dict())
    found = []
    for one, dtype in ((ours.bfloat16(), torch.bfloat16), (plain.double(), torch.float64)):
        given = x.detach().to(dtype).requires_grad_()
        made = one(given)
        made.backward(drawn(*made.shape, seed=7).to(dtype))
        found.append([made.detach(), given.grad, *(parameter.grad for parameter in one.parameters())])
    return [distance(made, wanted) for made, wanted in zip(*found, strict=True)]


@compiled
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 300))
def test_gelu_is_right_for_every_shape(rows, width):
    wide = (3.0 * drawn(rows, width)).double().requires_grad_()
    lean = wide.detach().bfloat16().requires_grad_()
    made, grad = native.gelu_tanh(lean), drawn(rows, width, seed=1)
    wanted = F.gelu(wide, approximate="tanh")
    made.backward(grad)
    wanted.backward(grad.double())
    torch.testing.assert_close(made.double(), wanted, rtol=NEAR, atol=1e-4)
    torch.testing.assert_close(lean.grad.double(), wide.grad, rtol=NEAR, atol=5e-3)


@compiled
def test_gelu_far_from_zero_and_where_there_is_no_number():
    x = torch.tensor([-1e30, -40.0, 40.0, 1e30, float("inf"), float("nan")]).bfloat16()
    made = native.gelu_tanh(x)
    assert made[:2].abs().max() == 0.0
    assert torch.equal(made[2:5], x[2:5])
    assert made[5].isnan()


@compiled
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(2, 200), st.booleans())
def test_norms_are_right_for_every_shape(rows, width, centered):
    x = drawn(2, rows, width) + (1.0 if centered else 0.0)
    if centered:
        ours, plain = FastLayerNorm(width, eps=1e-5), nn.LayerNorm(width, eps=1e-5)
        nn.init.normal_(plain.bias)
    else:
        ours, plain = FastRMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
    nn.init.normal_(plain.weight)
    found = compare(ours, plain, x)
    assert max(found) < 2 * NEAR, found


@compiled
def test_a_norm_without_bias_and_one_of_another_number_format():
    assert max(compare(FastLayerNorm(8, bias=False), nn.LayerNorm(8, bias=False), drawn(5, 8))) < NEAR
    layer = FastLayerNorm(8)  # float32 weights
    torch.testing.assert_close(layer(drawn(5, 8).float()), F.layer_norm(drawn(5, 8).float(), (8,)))


@compiled
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 80), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_a_linear_is_right_for_every_shape(rows, inputs, outputs, bias):
    found = compare(FastLinear(inputs, outputs, bias=bias), nn.Linear(inputs, outputs, bias=bias), drawn(rows, inputs))
    assert max(found) < 1.5 * NEAR, found


@compiled
def test_a_linear_that_is_partly_frozen_gives_the_gradients_asked_for():
    layer, x = FastLinear(4, 3).bfloat16(), drawn(2, 5, 4)
    layer.weight.requires_grad_(requires_grad=False)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [10.0, 10.0, 10.0]


@compiled
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_and_its_gradient(smoothing):
    logits, labels = 4.0 * drawn(9, 131), torch.arange(9) * 14
    wide = logits.double().requires_grad_()
    wanted = F.cross_entropy(wide, labels, label_smoothing=smoothing, reduction="none")
    wanted.sum().backward()
    kept = logits.clone()
    made = load_passes().cross_entropy(kept, labels, smoothing=smoothing)
    assert torch.equal(kept, logits), "nothing is written where no gradient is wanted"
    torch.testing.assert_close(made.double(), wanted, rtol=1e-5, atol=1e-5)
    load_passes().cross_entropy(kept, labels, smoothing=smoothing, differentiate=True)
    torch.testing.assert_close(kept.double(), wide.grad, rtol=NEAR, atol=1e-4)


@compiled
def test_a_loss_that_is_no_number_stays_so():
    logits = drawn(2, 40)
    logits[0, 3] = float("nan")
    made = load_passes().cross_entropy(logits, torch.tensor([1, 1]))
    assert made[0].isnan()
    assert made[1].isfinite()


@compiled
def test_any_number_of_threads_gives_the_same_bits():
    x, grad, threads = drawn(333, 96), drawn(333, 96, seed=1), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            parts = []
            for layer in (FastLayerNorm(96).bfloat16(), FastLinear(96, 96).bfloat16()):
                for parameter in layer.parameters():
                    nn.init.constant_(parameter, 0.5)
                layer(x.clone().requires_grad_()).backward(grad)
                parts += [parameter.grad for parameter in layer.parameters()]
            found.append(torch.cat([part.flatten() for part in parts]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@compiled
def test_a_row_alone_gives_what_it_gives_among_others():
    x = drawn(7, 50)
    for part in (native.gelu_tanh, FastLayerNorm(50).bfloat16(), FastRMSNorm(50).bfloat16()):
        assert torch.equal(part(x)[3:4], part(x[3:4]))


@compiled
@pytest.mark.parametrize(
    ("name", "activation"), [("silu", F.silu), ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"))]
)
def test_a_gate_is_right_both_ways(name, activation):
    found = []
    for dtype in (torch.bfloat16, torch.float64):
        x, up = (drawn(37, 300, seed=seed).mul(3).to(dtype).requires_grad_() for seed in (0, 1))
        made = native.gate(name, x, up) if dtype == torch.bfloat16 else activation(x) * up
        made.backward(drawn(37, 300, seed=2).to(dtype))
        found.append([made.detach(), x.grad, up.grad])
    assert max(distance(made, wanted) for made, wanted in zip(*found, strict=True)) < NEAR


@compiled
@pytest.mark.parametrize(("rows", "angles", "size"), [(1, 1, 64), (3, 1, 6), (3, 3, 40)])
def test_a_rotation_is_right_both_ways_wherever_the_heads_lie(rows, angles, size):
    angle = torch.rand(angles, 1, 9, size // 2, generator=torch.Generator().manual_seed(3)).repeat(1, 1, 1, 2) * 6
    x, grad = drawn(rows, 9, 4 * size).unflatten(-1, (4, size)), drawn(rows, 4, 9, size, seed=1)
    found = []
    for dtype in (torch.bfloat16, torch.float64):
        given = x.detach().to(dtype).requires_grad_()
        if dtype == torch.bfloat16:
            made = native.rotate(given.transpose(1, 2), angle.cos(), angle.sin())
        else:
            a, b = given.transpose(1, 2).chunk(2, dim=-1)
            c, s = (part[..., : size // 2].double() for part in (angle.cos(), angle.sin()))
            made = torch.cat([a * c - b * s, b * c + a * s], dim=-1)
        made.backward(grad.to(dtype))
        found.append([made.detach(), given.grad])
    assert max(distance(made, wanted) for made, wanted in zip(*found, strict=True)) < NEAR


@compiled
def test_dropout_leaves_out_its_share_lets_the_rest_grow_and_finds_the_same_on_the_way_back():
    x, more = (drawn(300, 100, seed=seed).requires_grad_() for seed in (0, 1))
    dropout = FastDropout(0.25)
    left = dropout(torch.ones_like(x))
    assert 0.24 < (left == 0).float().mean() < 0.26
    assert torch.allclose(left[left > 0], torch.tensor(4 / 3).bfloat16())
    assert not torch.equal(left, dropout(torch.ones_like(x)))
    pieces = left.flatten()[: 7 * module.PIECE].view(7, -1)
    assert len({tuple(piece.tolist()) for piece in pieces}) == 7
    rows, columns = (left == 0).float().mean(1), (left == 0).float().mean(0)
    assert 0.03 < rows.std() < 0.06  # sqrt(0.25 * 0.75 / 100) is 0.043
    assert 0.015 < columns.std() < 0.035  # and of 300 numbers 0.025
    torch.manual_seed(5)
    made = dropout.add(more, x)
    torch.manual_seed(5)
    stays = dropout(torch.ones_like(x))
    assert distance(made.detach(), (more.double() + x.double() * (stays > 0) / 0.75).detach()) < NEAR
    grad = drawn(300, 100, seed=2)
    made.backward(grad)
    assert distance(x.grad, grad.double() * (stays > 0) / 0.75) < NEAR
    assert torch.equal(more.grad, grad)


@compiled
@pytest.mark.parametrize("preset", ["bert", "llama"])
def test_gradients_of_a_model_with_dropout_are_those_of_leaving_out_the_same_numbers(preset, monkeypatch):
    torch.manual_seed(0)
    model = accelerate(
        Transformer(build_config(preset, size="tiny", overrides={"vocab_size": 300, "dropout": 0.2})).bfloat16()
    )
    ids, layout = torch.randint(300, (4, 40)), Layout.whole(4, 40)
    batch = Batch(ids, source_layout=layout) if preset == "bert" else Batch(target=ids, target_layout=layout)

    def leave_out(dropout, more, x):
        left, seed = torch.ones_like(x), int(torch.randint(2**31, ()))
        left = x * module.get_passes().dropout(left, None, seed=seed, chance=dropout.p)
        return left if more is None else more + left

    found = []
    for add in (FastDropout.add, leave_out):
        monkeypatch.setattr(FastDropout, "add", add)
        torch.manual_seed(1)
        model.zero_grad()
        (made := model(batch)).backward(drawn(*made.shape))
        found.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    assert distance(found[0], found[1].double()) < 2 * NEAR


@compiled
def test_dropout_of_everything_of_nothing_and_while_judging():
    x, more = drawn(3, 8), drawn(3, 8, seed=1)
    assert not FastDropout(1.0)(x).any()
    assert torch.equal(FastDropout(0.0).add(more, x), x + more)
    assert torch.equal(FastDropout(0.5).eval().add(more, x), x + more)


def test_without_them_torch_does_the_work(monkeypatch):
    monkeypatch.setenv("TRIFOLD_KERNEL", "off")
    assert load_passes.__wrapped__() is None
    monkeypatch.setattr(module, "load_passes", lambda: None)
    x = drawn(3, 8)
    assert torch.equal(native.gelu_tanh(x), F.gelu(x, approximate="tanh"))
    torch.manual_seed(0)
    left = FastDropout(0.5).add(x, x)
    torch.manual_seed(0)
    assert torch.equal(left, x + F.dropout(x, 0.5))
    assert torch.equal(native.gate("silu", x, x), F.silu(x) * x)
    assert torch.equal(FastLayerNorm(8).bfloat16()(x), nn.LayerNorm(8).bfloat16()(x))
    assert torch.equal(FastRMSNorm(8).bfloat16()(x), nn.RMSNorm(8).bfloat16()(x))


@compiled
def test_they_can_be_loaded_first_while_nothing_is_recorded():
    with torch.inference_mode():
        assert load_passes.__wrapped__() is not None


@compiled
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 300), st.integers(1, 12), st.booleans())
def test_the_best_of_a_row_are_the_best_and_come_in_order(rows, words, count, equal):
    x = drawn(rows, words + 3).float()[:, 1 : words + 1]  # rows are further apart than they are long
    x = x.round() if equal else x
    count = min(count, words)
    total, value, place = native.get_passes().find_best(x, count)
    torch.testing.assert_close(total, x.logsumexp(1), rtol=1e-5, atol=1e-5)
    wanted = [sorted(range(words), key=lambda word: (-row[word], word))[:count] for row in x.tolist()]
    assert place.tolist() == wanted
    assert torch.equal(value, x.gather(1, place))


@compiled
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_with_something_that_is_no_number_has_no_sum(bad):
    x = drawn(3, 200).float()
    x[1, 77] = bad
    total, _, place = native.get_passes().find_best(x, 4)
    assert total.isnan().tolist() == [False, True, False]
    assert 0 <= int(place.min()) <= int(place.max()) < 200


@compiled
@pytest.mark.parametrize("place", [module, product, kernel], ids=["passes", "product", "kernel"])
def test_a_kernel_that_gives_other_numbers_is_left_out_and_named(place, monkeypatch):
    load = next(
        getattr(place, name) for name in ("load_passes", "load_products", "load_kernel") if hasattr(place, name)
    )
    if load() is None:
        pytest.skip("not on this processor")
    monkeypatch.setattr(place, "_is_right", lambda _: False)
    with pytest.warns(UserWarning, match=rf"{place.SOURCES[0].name} does not give .* trifold env"):
        assert load.__wrapped__() is None


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc") or os.environ.get("TRIFOLD_KERNEL") == "off",
                    reason="no compiler")  # fmt: skip
def test_where_there_is_a_compiler_the_passes_are_there_and_right():
    assert load_passes() is not None
