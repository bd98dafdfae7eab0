"""The chunked loss is the plain one: value, gradients and ignored places."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trifold.batch import IGNORED
from trifold.model import Head, config
from trifold.objective import cross_entropy
from trifold.objective.cross_entropy import sum_cross_entropy, token_cross_entropy


def make_head(*, tied: bool, bias: bool, activation: str | None = None) -> Head:
    stack = config.Stack(
        blocks=(
            config.Block(
                attention=config.Attention(num_heads=1, num_kv_heads=1, head_size=4, causal=False),
                feed_forward=config.FeedForward(d_ff=4, activation="relu"),
            ),
        )
    )
    head = config.Head(tied=tied, bias=bias, activation=activation, norm=config.LayerNorm() if activation else None)
    shape = config.Transformer(vocab_size=11, d_model=4, embedding=config.Embedding(), encoder=stack, head=head)
    made = Head(shape, nn.Embedding(11, 4)).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", [None, "gelu"])
@pytest.mark.parametrize("chunk", [11, 40, 2**22])
@pytest.mark.parametrize(("grain", "span"), [(128, 1024), (16, 48), (64, 64)])
def test_equals_plain_cross_entropy(monkeypatch, bias, activation, chunk, grain, span):
    """In pieces of any size, filled up or not."""
    for name, value in (("CHUNK_ELEMENTS", chunk), ("GRAIN", grain), ("SPAN_ROWS", span)):
        monkeypatch.setattr(cross_entropy, name, value)
    head = make_head(tied=True, bias=bias, activation=activation)
    hidden = torch.randn(3, 40, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 11, (3, 40))
    labels[0, :20] = IGNORED
    parts = [hidden, *head.parameters()]

    total, count = sum_cross_entropy(head, hidden, labels)
    ours = torch.autograd.grad(total / count, parts)
    plain = F.cross_entropy(head(hidden).flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    wanted = torch.autograd.grad(plain / count, parts)

    assert count == 100
    torch.testing.assert_close(total, plain, rtol=1e-12, atol=1e-12)
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    each = token_cross_entropy(head, hidden, labels)
    torch.testing.assert_close(each.sum(), plain, rtol=1e-12, atol=1e-12)
    for one, other in zip(torch.autograd.grad(each.sum() / count, parts), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_bfloat16_is_near_float64_with_more_places_than_are_met_at_once(smoothing):
    torch.manual_seed(0)
    head = make_head(tied=False, bias=True)
    hidden, labels = torch.randn(1, 2500, 4, dtype=torch.float64).bfloat16(), torch.randint(0, 11, (1, 2500))
    found = []
    for dtype in (torch.float64, torch.bfloat16):
        head, given = head.bfloat16().to(dtype), hidden.to(dtype).requires_grad_()
        total, count = sum_cross_entropy(head, given, labels, smoothing=smoothing)
        found.append([total.detach().double(), *torch.autograd.grad(total, [given, *head.parameters()])])
        assert count == 2500
    for one, other in zip(*found, strict=True):
        assert float((one.double() - other.double()).norm()) < 0.02 * float(one.norm())


@pytest.mark.parametrize("chunk", [11, 2**22])
def test_the_row_of_a_vector_that_stays_zero_gets_no_gradient_and_the_others_their_own(monkeypatch, chunk):
    monkeypatch.setattr(cross_entropy, "CHUNK_ELEMENTS", chunk)
    head, hidden = make_head(tied=True, bias=True), torch.randn(2, 30, 4, dtype=torch.float64)
    labels = torch.randint(0, 10, (2, 30))
    found = []
    for silent in (None, 10):
        head.silent = silent
        loss, _ = sum_cross_entropy(head, hidden, labels, smoothing=0.1)
        found.append((loss, *torch.autograd.grad(loss, [head.output.weight, head.output.bias])))
    (whole, weight, bias), (same, spared, other) = found
    assert same == whole and torch.equal(bias, other)
    assert weight[10].any() and not spared[10].any() and torch.equal(spared[:10], weight[:10])


def test_a22_no_label_at_all_is_zero_with_zero_gradient():
    head = make_head(tied=False, bias=True)
    hidden = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    total, count = sum_cross_entropy(head, hidden, torch.full((1, 3), IGNORED))
    total.backward()
    assert (total.item(), count) == (0.0, 0)
    assert hidden.grad is not None and not hidden.grad.any()


def test_g6_gradient_agrees_with_finite_differences():
    head = make_head(tied=False, bias=True)
    hidden = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0, 10, 3], [IGNORED, 4, 4]])
    assert torch.autograd.gradcheck(lambda x: sum_cross_entropy(head, x, labels)[0], (hidden,))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_way_of_other_devices_gives_the_same_loss_and_gradient(smoothing, dtype):
    logits, labels = torch.randn(7, 11).to(dtype), torch.randint(11, (7,))
    exact = logits.double().clone().requires_grad_()
    wanted = F.cross_entropy(exact, labels, reduction="sum", label_smoothing=smoothing)
    wanted.backward()
    made = cross_entropy._lose(logits, labels, smoothing, differentiate=True)
    bounds = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 2**-8, "atol": 1e-6}
    torch.testing.assert_close(made.double(), wanted.detach(), rtol=max(bounds["rtol"], 1e-12), atol=1e-5)
    torch.testing.assert_close(logits.double(), exact.grad, **bounds)
