"""Products in C: right for every shape, and compiled only where that is safe."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bounds import assert_same_sums
from tests.shapes import WRITERS, build
from trifold.generation import kernel, lower_precision
from trifold.generation.decoding import Decoding
from trifold.generation.kernel import _is_right, load_kernel
from trifold.generation.linear import Int8Linear, RoundedLinear, StreamedLinear
from trifold.native import multiplies_int8

compiled = pytest.mark.skipif(load_kernel() is None, reason="no compiler")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


@compiled
@settings(max_examples=80, deadline=None)
@given(st.integers(1, 3), st.integers(1, 400), st.integers(1, 9), st.booleans(), st.booleans())
def test_products_are_right_for_every_shape(rows, inputs, outputs, half, bias):
    dtype = torch.bfloat16 if half else torch.float32
    draw = torch.Generator().manual_seed(inputs)
    x, weight = (torch.randn(count, inputs, generator=draw).to(dtype) for count in (rows, outputs))
    added = torch.randn(outputs, generator=draw).to(dtype) if bias else None
    exact = x.double() @ weight.double().t() + (0 if added is None else added.double())
    torch.testing.assert_close(load_kernel().linear(x, weight, added).double(), exact, rtol=TOLERANCE[dtype], atol=1e-2)
    if half:
        whole, scale = (
            (weight.float() * 30).round().clamp(-127, 127).to(torch.int8),
            torch.rand(outputs, generator=draw) / 30,
        )
        exact = x.double() @ (whole.double() * scale[:, None].double()).t() + (0 if added is None else added.double())
        made = load_kernel().linear_int8(x, (whole, scale), added)
        torch.testing.assert_close(made.double(), exact, rtol=1e-2, atol=1e-2)


@pytest.mark.skipif(not multiplies_int8(), reason="without VNNI torch's products of whole numbers run over")
@compiled
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(2, 300), st.integers(1, 40), st.booleans(), st.sampled_from([1e-20, 1.0, 1e20]))
def test_products_of_many_rows_in_whole_numbers_are_near_and_each_row_is_as_if_alone(rows, inputs, outputs, bias, size):
    draw = torch.Generator().manual_seed(inputs)
    x = (torch.randn(rows, inputs, generator=draw) * size).bfloat16()
    whole = torch.randint(-127, 128, (outputs, inputs), generator=draw).to(torch.int8)
    scale = torch.rand(outputs, generator=draw)
    added = (torch.randn(outputs, generator=draw) * size).bfloat16() if bias else None
    made = load_kernel().product_int8(x, (whole, scale), added)
    steps = x.double().abs().amax(1, keepdim=True) / 127
    rounded = (x.double() / steps.clamp(min=1e-300)).round() * steps
    exact = rounded @ (whole.double() * scale[:, None].double()).t() + (0 if added is None else added.double())
    near = 2e-3 * float(exact.abs().max()) + 130 * float(steps.max() * scale.max())  # one number on the edge of two
    torch.testing.assert_close(made.double(), exact, rtol=1e-2, atol=near)
    alone = [load_kernel().product_int8(row[None], (whole, scale), added) for row in x]
    assert torch.equal(torch.cat(alone), made)


@compiled
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@torch.inference_mode()
def test_what_is_no_number_stays_so_in_its_row_alone(bad):
    plain = torch.nn.Linear(64, 8).to(torch.bfloat16)
    x = torch.ones(2, 64, dtype=torch.bfloat16)
    x[1, 5] = bad
    for layer in (StreamedLinear(plain), Int8Linear(plain), RoundedLinear(plain)):
        made = layer(x)
        assert made[0].isfinite().all()
        assert not made[1].isfinite().any()


@compiled
def test_the_largest_sums_of_whole_numbers_do_not_run_over():
    inputs = kernel.MOST_INPUTS
    x, whole = torch.ones(1, inputs, dtype=torch.bfloat16), torch.full((1, inputs), 127, dtype=torch.int8)
    made = load_kernel().linear_int8(x, (whole, torch.ones(1)), None)
    assert made.item() == pytest.approx(127 * inputs, rel=1e-2)


def test_what_the_kernel_cannot_read_goes_to_torch():
    """Weights laid the other way, of another number format, or with gradients wanted."""
    plain = torch.nn.Linear(32, 8)
    layer, x = StreamedLinear(plain), torch.randn(1, 32)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode():
        turned = torch.nn.Parameter(plain.weight.detach().t().contiguous().t())
        layer.weight = turned
        assert_same_sums(layer(x), plain(x), terms=32)
        plain.weight = turned
        assert StreamedLinear(plain).weight.is_contiguous()
        with pytest.raises(RuntimeError):
            layer(x.bfloat16())
        with pytest.raises(RuntimeError):
            layer(x[:, :16])


@torch.inference_mode()
def test_scales_and_bias_of_other_number_formats_are_not_read_as_something_else():
    plain, x = torch.nn.Linear(64, 8), torch.randn(1, 64)
    late = Int8Linear(copy.deepcopy(plain)).to(torch.bfloat16)
    torch.testing.assert_close(late(x.bfloat16()).float(), plain(x), rtol=0.05, atol=0.05)
    exact = Int8Linear(plain)
    torch.testing.assert_close(exact(x.bfloat16()).float(), plain(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kind", [StreamedLinear, Int8Linear])
@torch.inference_mode()
def test_a_model_that_decodes_can_be_copied(kind):
    layer, x = kind(torch.nn.Linear(64, 8).to(torch.bfloat16)), torch.randn(1, 64, dtype=torch.bfloat16)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


@torch.inference_mode()
def test_a_view_with_gaps_and_an_empty_batch_are_read_as_they_are():
    plain = torch.nn.Linear(32, 8)
    layer, x = StreamedLinear(plain), torch.randn(2, 64)[:, ::2]
    assert_same_sums(layer(x), plain(x), terms=32)
    assert layer(torch.zeros(0, 32)).shape == (0, 8)


@pytest.mark.parametrize("name", WRITERS)
@torch.inference_mode()
def test_greedy_tokens_are_those_of_the_plain_model(name):
    model = build(name).float()
    lean, found = lower_precision(copy.deepcopy(model), "float32", decoding=True), []
    for one in (model, lean):
        decoding, tokens = Decoding(one, [[5, 6, 7]]), []
        logits = decoding.start()
        for _ in range(12):
            tokens.append(logits.argmax(-1))
            logits = decoding.step(tokens[-1])
        found.append(torch.cat(tokens).tolist())
    assert found[0] == found[1]


def test_without_compiler_or_when_told_so_torch_does_the_work(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIFOLD_KERNEL", "off")
    assert load_kernel.__wrapped__() is None
    monkeypatch.delenv("TRIFOLD_KERNEL")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", str(tmp_path / "none"))
    assert load_kernel.__wrapped__() is None


@compiled
def test_a_cache_that_others_can_write_is_not_used(monkeypatch, tmp_path):
    """What lies there is run: a file put there by someone else would be, too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "trifold").mkdir(mode=0o777)
    (tmp_path / "trifold").chmod(0o777)
    assert load_kernel.__wrapped__() is not None
    assert not list((tmp_path / "trifold").iterdir())
    (tmp_path / "trifold").chmod(0o700)
    assert load_kernel.__wrapped__() is not None
    assert len(list((tmp_path / "trifold").iterdir())) == 1


@compiled
def test_a_damaged_file_in_the_cache_is_made_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_kernel.__wrapped__() is not None
    (made,) = (tmp_path / "trifold").iterdir()
    made.unlink()
    made.write_bytes(b"not a library")
    assert load_kernel.__wrapped__() is not None


@pytest.mark.skipif(load_kernel() is None, reason="no compiler")
def test_it_computes_alike_where_new_tensors_are_of_another_format():
    kernel, x = load_kernel(), torch.randn(1, 64).bfloat16()
    assert kernel is not None
    wanted = kernel.linear(x, x.repeat(2, 1), None)
    torch.set_default_dtype(torch.float64)
    try:
        assert _is_right(kernel)
        assert torch.equal(kernel.linear(x, x.repeat(2, 1), None), wanted)
    finally:
        torch.set_default_dtype(torch.float32)
