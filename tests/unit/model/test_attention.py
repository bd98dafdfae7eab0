"""Norms of each head, for a token's own keys and for those of a memory."""

import pytest
import torch

from trifold.batch import Layout
from trifold.model import Attention, Visibility, config
from trifold.model.cache import Slot

PART = config.Attention(num_heads=2, num_kv_heads=1, head_size=4, causal=False)
LAYOUT = Layout.whole(1, 3)
EVERYTHING = Visibility(LAYOUT, LAYOUT, causal=False, window=None)


@pytest.mark.parametrize("norm", [config.RMSNorm(eps=1e-12), config.OffsetRMSNorm(eps=1e-12)])
@pytest.mark.parametrize("kind", ["own", "memory", "kept"])
def test_the_size_of_queries_and_keys_is_of_no_matter_with_a_norm_of_each_head(norm, kind):
    torch.manual_seed(0)
    x, other = torch.randn(2, 1, 3, 8, dtype=torch.float64)
    more = {} if kind == "own" else {"memory": other}
    for head_norm in (norm, None):
        attention = Attention.build(config.Attention(**{**_fields(), "head_norm": head_norm}), 8).double()
        before = attention(x, EVERYTHING, **more, slot=Slot() if kind == "kept" else None)
        with torch.no_grad():
            for linear in (attention.q_proj, attention.k_proj):
                linear.weight.mul_(3), linear.bias.mul_(3)
        after = attention(x, EVERYTHING, **more, slot=Slot() if kind == "kept" else None)
        assert torch.allclose(before, after) == (head_norm is not None)


def _fields() -> dict:
    return {name: getattr(PART, name) for name in PART.__slots__}


def test_a_norm_that_adds_one_starts_as_the_plain_one_and_keeps_digits_in_bfloat16():
    from trifold.model.norm import build_norm

    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    plain, offset = (build_norm(kind(eps=1e-6), 16) for kind in (config.RMSNorm, config.OffsetRMSNorm))
    assert torch.equal(offset.weight, torch.zeros(16)) and torch.equal(plain(x), offset(x))
    torch.nn.init.constant_(offset.weight, 2**-10)  # 1 + 2**-10 is 1 in bfloat16
    wide = offset(x.bfloat16().float())
    assert torch.equal(offset.bfloat16()(x.bfloat16()), wide.bfloat16())
