"""Attention inside the documents of packed rows is the plain rule, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trifold.acceleration import packed
from trifold.acceleration.attention import attend
from trifold.batch import Layout
from trifold.model import Visibility
from trifold.model import attend as attend_plainly

LENGTHS = [[50, 3, 61, 14], [128], [1, 100, 20]]
"""Tokens of the documents of three rows of 128, of which the last ends in padding."""


def layout() -> Layout:
    positions, documents = torch.zeros(3, 128, dtype=torch.long), torch.zeros(3, 128, dtype=torch.long)
    for row, lengths in enumerate(LENGTHS):
        start = 0
        for number, length in enumerate(lengths, 1):
            positions[row, start : start + length] = torch.arange(length)
            documents[row, start : start + length] = number
            start += length
    return Layout(positions, documents)


def by_hand(query, key, value, bounds_q, bounds_k, longest_q, longest_k, *, scale, window_size) -> Tensor:
    """What the kernel does, sequence after sequence."""
    assert torch.equal(bounds_q, bounds_k) and longest_q == longest_k == 128
    made = []
    for start, end in zip(bounds_q.tolist()[:-1], bounds_q.tolist()[1:], strict=True):
        q, k, v = (part[start:end].transpose(0, 1).float() for part in (query, key, value))
        far = torch.arange(end - start)[:, None] - torch.arange(end - start)
        left, right = (end if reach < 0 else reach for reach in window_size)
        seen = ((far <= left) & (far >= -right)).to(q.device)
        made.append(F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale).transpose(0, 1))
    return torch.cat(made).to(query.dtype)


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("window", [None, 9])
@pytest.mark.parametrize("causal", [True, False])
def test_packed_rows_are_attended_to_by_the_plain_rule(causal, window, kv_heads, device, monkeypatch):
    there = layout().to(device)
    seen = Visibility(there, there, causal=causal, window=window)
    sizes = [(3, heads, 128, 16) for heads in (4, kv_heads, kv_heads)]
    parts = [torch.randn(size).to(device, torch.bfloat16).requires_grad_() for size in sizes]
    if device.type == "cuda":
        assert packed.takes_packed(parts[0], seen), "torch has the kernel from 2.11 on, for Ampere and later"
        made = attend(*parts, seen, scale=0.2)
    else:
        monkeypatch.setattr(packed, "load_varlen", lambda _: by_hand)
        made = packed.attend_packed(*parts, seen, scale=0.2)
    plain = [part.detach().float().requires_grad_() for part in parts]
    wanted = attend_plainly(*plain, seen, scale=0.2)
    inside = there.documents[:, None, :, None] != 0
    grad = torch.randn(made.shape).to(device) * inside
    made.backward(grad.to(made.dtype))
    wanted.backward(grad)
    assert ((made.float() - wanted) * inside).norm() / (wanted * inside).norm() < 0.01
    for one, other in zip(parts, plain, strict=True):
        assert ((one.grad.float() - other.grad).norm() / other.grad.norm()).item() < 0.02


def test_the_kernel_is_not_asked_for_what_it_does_not_know(device):
    there = layout().to(device)
    seen = Visibility(there, there, causal=True, window=None)
    whole = Layout.whole(3, 128, device=device)
    prefixed = Layout(there.positions, there.documents, there.documents)
    lean = torch.zeros(3, 2, 128, 16, device=device, dtype=torch.bfloat16)
    for query, rule in ((lean.float(), seen), (lean[..., :7], seen),
                        (lean, Visibility(whole, whole, causal=True, window=None)),
                        (lean, Visibility(prefixed, prefixed, causal=True, window=None)),
                        (lean, Visibility(there, layout().to(device), causal=False, window=None))):  # fmt: skip
        assert not packed.takes_packed(query, rule)
