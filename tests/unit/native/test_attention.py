"""Attention in blocks: the equation for every mask and bias, gradients too; dropout; memory."""

import pytest
import torch
from torch import Tensor

from trifold.native import Rule, load_passes, load_products, mix_values
from trifold.native import attention as module
from trifold.native.attention import BLOCK

pytestmark = pytest.mark.skipif(load_passes() is None, reason="no compiler")
SHAPES = [(2, 3, 5, 7, 8), (1, 2, 2 * BLOCK + 9, 2 * BLOCK + 9, 16), (2, 2, BLOCK + 1, 40, 8), (3, 1, 1, 300, 8)]


@pytest.fixture(autouse=True, params=["products", "passes"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By the matrix unit, where there is one, and by torch's products with passes between them."""
    if request.param == "passes":
        monkeypatch.setattr(module, "load_products", lambda: None)
    elif load_products() is None:
        pytest.skip("no matrix unit")
    return request.param


def equation(query: Tensor, key: Tensor, value: Tensor, rule: Rule, bias: Tensor | None) -> Tensor:
    scores = query @ key.transpose(-1, -2) * rule.scale
    scores = scores if bias is None else scores + bias
    seen = torch.ones_like(scores[:1, :1], dtype=torch.bool) if rule.mask is None else rule.mask
    seen = seen.tril() if rule.causal else seen
    return scores.masked_fill(~seen, float("-inf")).softmax(-1).nan_to_num(0.0) @ value


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["all", "causal", "mask", "one mask", "nothing"])
@pytest.mark.parametrize("biased", [0, 1, 2])
def test_it_is_its_equation(shape, kind, biased):
    torch.manual_seed(0)
    batch, heads, queries, keys, size = shape
    if kind == "causal" and queries != keys:
        pytest.skip("as many queries as keys")
    mask = None
    if "mask" in kind:
        mask = torch.rand(1 if kind == "one mask" else batch, 1, queries, keys) > 0.4
    if kind == "nothing":
        mask = torch.zeros(batch, 1, queries, keys, dtype=torch.bool)
    rule = Rule(mask=mask, causal=kind == "causal", scale=0.3)
    sizes = [(batch, heads, count, size) for count in (queries, keys, keys)]
    sizes += [(1 if biased == 1 else batch, heads, queries, keys)] if biased else []
    lean = [torch.randn(*one).bfloat16().requires_grad_() for one in sizes]
    wide = [one.detach().double().requires_grad_() for one in lean]
    bias = (lean[3], wide[3]) if biased else (None, None)
    made, wanted = mix_values(*lean[:3], rule, bias[0]), equation(*wide[:3], rule, bias[1])
    grad = torch.randn_like(made)
    made.backward(grad)
    wanted.backward(grad.double())
    pairs = [(made.detach(), wanted.detach()), *((one.grad, other.grad) for one, other in zip(lean, wide, strict=True))]
    for one, other in pairs:
        assert one.dtype == torch.bfloat16
        distance, size = (one.double() - other).norm(dim=-1), other.norm(dim=-1)
        assert float(distance.norm()) <= 0.015 * float(size.norm())
        assert float(distance.max()) <= 0.05 * float(size.max()), "no query alone"


def test_views_with_gaps_are_read_as_they_are():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 6, 3, 8).bfloat16().transpose(2, 3).unbind(0)
    mask = (torch.rand(2, 1, 6, 12) > 0.3)[..., ::2]
    rule = Rule(mask=mask, causal=False, scale=0.3)
    wanted = mix_values(
        *(x.contiguous() for x in (query, key, value)), Rule(mask=mask.contiguous(), causal=False, scale=0.3)
    )
    assert torch.equal(mix_values(query, key, value, rule), wanted)


@pytest.mark.parametrize("queries", [40, BLOCK + 40])
def test_dropout_leaves_the_wanted_share_and_goes_back_the_way_it_came(queries):
    """Values that are the unit matrix show the weights themselves."""
    torch.manual_seed(0)
    query, key = (torch.randn(2, 2, queries, queries).bfloat16().requires_grad_() for _ in range(2))
    value = torch.eye(queries).bfloat16().expand(2, 2, queries, queries).clone().requires_grad_()
    plain, rule = (Rule(mask=None, causal=False, scale=0.05, dropout=chance) for chance in (0.0, 0.25))
    torch.manual_seed(5)
    dropped, whole = mix_values(query, key, value, rule), mix_values(query, key, value, plain)  # B H Q T: the weights
    kept = dropped != 0.0
    assert abs(float((~kept & (whole != 0.0)).float().mean()) - 0.25) < 0.02
    torch.testing.assert_close(dropped[kept].float(), whole[kept].float() / 0.75, rtol=0.02, atol=1e-6)
    grad = torch.randn_like(dropped)
    dropped.backward(grad)
    wide = [x.detach().double().requires_grad_() for x in (query, key, value)]
    weights = (wide[0] @ wide[1].transpose(-1, -2) * 0.05).softmax(-1) * kept / 0.75
    (weights @ wide[2]).backward(grad.double())
    for one, other in zip((query, key, value), wide, strict=True):
        assert float((one.grad.double() - other.grad).norm()) <= 0.02 * float(other.grad.norm())


def test_dropout_follows_the_global_seed_and_differs_between_calls_rows_and_heads():
    x, rule = torch.zeros(2, 2, 64, 64).bfloat16(), Rule(mask=None, causal=False, scale=1.0, dropout=0.5)
    value = torch.eye(64).bfloat16().expand(2, 2, 64, 64)
    torch.manual_seed(1)
    first, second = (mix_values(x, x, value, rule) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(mix_values(x, x, value, rule), first)
    assert not torch.equal(first, second)
    parts = [*first.flatten(0, 1), *first[0, 0].split(16)[1:]]
    assert all(not torch.equal(one[:16], other[:16]) for at, one in enumerate(parts) for other in parts[:at])


def test_memory_grows_with_the_length_and_not_with_its_square():
    """What is kept for the way back: queries, keys and values."""
    kept: dict[int, int] = {}
    for length in (2 * BLOCK, 8 * BLOCK):
        x = torch.randn(1, 1, length, 4).bfloat16().requires_grad_()
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            mix_values(x, x, x, Rule(mask=None, causal=True, scale=1.0))
        kept[length] = sum(sizes)
    assert kept[8 * BLOCK] == 4 * kept[2 * BLOCK]
