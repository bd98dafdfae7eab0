"""The one attention function against its equation, for every way of asking it."""

import math

import pytest
import torch

from trifold import native
from trifold.acceleration.attention import attend as attend_fast
from trifold.batch import Layout
from trifold.model import Visibility, attend
from trifold.native.attention import DENSE_KEYS, Rule, _mix_densely


def _slow(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Head by head and query by query, in plain sums."""
    out, groups = torch.zeros_like(query), query.shape[1] // key.shape[1]
    for row, head, place in torch.cartesian_prod(*(torch.arange(n) for n in query.shape[:3])).tolist():
        visible = seen[row % len(seen), 0, place].nonzero()[:, 0]
        if len(visible):
            scores = key[row, head // groups, visible] @ query[row, head, place] / math.sqrt(query.shape[-1])
            scores = scores + bias[row % len(bias), head, place, visible]
            out[row, head, place] = scores.softmax(0) @ value[row, head // groups, visible]
    return out


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 2), (4, 1)])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kind", ["whole", "padded", "empty", "window", "causal"])
def test_attend_is_its_equation(queries: int, heads: tuple[int, int], biased: bool, kind: str) -> None:
    torch.manual_seed(0)
    query = torch.randn(3, heads[0], queries, 4, dtype=torch.float64)
    key, value = torch.randn(2, 3, heads[1], 7, 4, dtype=torch.float64)
    bias = torch.randn(1, heads[0], queries, 7, dtype=torch.float64) if biased else None
    asked, held = Layout.whole(3, queries, start=7 - queries), Layout.whole(3, 7)
    if kind in ("padded", "empty"):
        held = Layout.padded(torch.tensor([7, 2, 0 if kind == "empty" else 4]), width=7)
    view = Visibility(asked, held, causal=kind in ("causal", "window"), window=2 if kind == "window" else None)
    wanted = _slow(query, key, value, view.mask, torch.zeros(1, heads[0], queries, 7) if bias is None else bias)
    for way in (attend, attend_fast):
        made = way(query, key, value, view, bias=bias)
        torch.testing.assert_close(made, wanted, rtol=0.0, atol=1e-13)
    if heads[0] == heads[1]:
        rule = Rule(mask=view.mask, causal=False, scale=query.shape[-1] ** -0.5)
        torch.testing.assert_close(_mix_densely(query, key, value, rule, bias), wanted, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("length", [16, DENSE_KEYS + 1])
def test_bfloat16_takes_matrix_products_where_they_are_faster_and_stays_near_float64(
    length, compiled, monkeypatch
) -> None:
    calls = []
    real = native.mix_values
    monkeypatch.setattr(native, "mix_values", lambda *a, **k: calls.append(1) or real(*a, **k))
    if not compiled:
        for module in (native.attention, native.passes):
            monkeypatch.setattr(module, "load_passes", lambda: None)
    query, key, value = torch.randn(3, 1, 2, length, 8, dtype=torch.float64)
    layout = Layout.whole(1, length)
    view = Visibility(layout, layout, causal=True, window=None)
    exact = attend_fast(query, key, value, view)
    assert not calls, "float64 keeps the exact kernel"
    near = attend_fast(query.bfloat16(), key.bfloat16(), value.bfloat16(), view)
    assert bool(calls) == ((compiled and native.load_passes() is not None) or length <= DENSE_KEYS)
    torch.testing.assert_close(near.double(), exact, rtol=0.0, atol=0.05)
