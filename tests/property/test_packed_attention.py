"""The kernel for unequal lengths is asked for what the plain rule says: the same tests as on a device, with it by hand."""

import pytest
import torch

from tests.gpu.test_attention import by_hand, layout
from trifold.acceleration import packed
from trifold.batch import Layout
from trifold.model import Visibility, attend


@pytest.mark.parametrize("window", [None, 9])
@pytest.mark.parametrize("causal", [True, False])
def test_documents_are_attended_to_by_the_plain_rule(causal, window, monkeypatch):
    monkeypatch.setattr(packed, "load_varlen", lambda _: by_hand)
    there = layout()
    seen = Visibility(there, there, causal=causal, window=window)
    parts = [torch.randn(3, heads, 128, 8) for heads in (4, 2, 2)]
    made = packed.attend_packed(*parts, seen, scale=0.3)
    inside = there.documents[:, None, :, None] != 0
    torch.testing.assert_close(made * inside, attend(*parts, seen, scale=0.3) * inside, rtol=0.0, atol=1e-5)


def test_a_kernel_that_is_wrong_is_left_out(monkeypatch):
    def crooked(*given: object, **named: object) -> torch.Tensor:
        return by_hand_any(*given, **named) * 1.5

    def by_hand_any(query, key, value, bounds_q, bounds_k, longest_q, longest_k, **named):
        assert longest_q == longest_k == 5
        return by_hand(query, key, value, bounds_q, bounds_k, 128, 128, **named)

    assert packed._is_right(by_hand_any, torch.device("cpu"))
    assert not packed._is_right(crooked, torch.device("cpu"))


@pytest.mark.parametrize(
    ("positions", "documents", "bounds"),
    [
        ([[0, 1, 0]], [[1, 1, 2]], [0, 2, 3]),
        ([[0, 0, 1], [0, 1, 0]], [[0, 1, 1], [1, 1, 0]], [0, 1, 3, 5, 6]),
        ([[0, 0, 1]], [[1, 2, 1]], None),  # torn
        ([[1, 0, 2]], [[1, 1, 1]], None),  # not in order
    ],
)
def test_bounds_are_those_of_documents_in_one_piece_and_in_order(positions, documents, bounds):
    found = packed.bounds_of(Layout(torch.tensor(positions), torch.tensor(documents)))
    assert (None if found is None else found.tolist()) == bounds
