"""A kernel is checked apart from the computation in the middle of which it is first asked for."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from trifold.native.compiler import trusted
from trifold.native.passes import load_passes
from trifold.native.product import load_products
from trifold.objective import sum_cross_entropy
from trifold.presets.pretrained import Transformer


def differentiates(kernel: object) -> bool:
    """As checks do: by gradients of what torch computes."""
    del kernel
    x = torch.ones(3, requires_grad=True)
    return torch.autograd.grad(x.square().sum(), x)[0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_a_check_hears_nothing_of_what_is_around_it_and_says_nothing(around):
    kept = []
    with around(), saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        assert trusted("kernel", differentiates, "a.c") == "kernel"
    assert kept == []


def test_an_error_of_a_check_is_its_own():
    with pytest.raises(ZeroDivisionError):
        trusted("kernel", lambda _: 1 / 0 > 0, "a.c")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_may_be_asked_for_first_in_a_block_that_is_computed_again(dtype):
    model = Transformer.from_preset("llama", size="tiny", vocab_size=50).to(dtype).train()
    assert model.decoder is not None
    model.decoder.checkpointing = True
    ids = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))
    load_passes.cache_clear(), load_products.cache_clear()
    loss, _ = sum_cross_entropy(model.head, model.decode(ids), ids)
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())
