"""A model on the device gives the numbers of the CPU, and keeps there what it promises of packed and cached tokens."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.property.test_packing import join_documents, make_documents
from tests.shapes import CAUSAL, SHAPES, build, tokens
from trifold.acceleration import accelerate
from trifold.batch import Batch, Layout
from trifold.model import Transformer
from trifold.objective.cross_entropy import sum_cross_entropy, token_cross_entropy

CLOSE = {"rtol": 1e-9, "atol": 1e-10}


def gradients(model: Transformer, batches: list[Batch]) -> tuple[Tensor, dict[str, Tensor]]:
    """The summed loss of batches, and its gradients, on the CPU."""
    model.zero_grad()
    device = next(model.parameters()).device
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for batch in batches:
        there = batch.to(device)
        assert there.labels is not None
        loss = loss + sum_cross_entropy(model.head, model(there), there.labels)[0]
    loss.backward()
    return loss.detach().cpu(), {n: p.grad.cpu().clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_alike(found: dict[str, Tensor], wanted: dict[str, Tensor], **bounds: float) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, msg=lambda text, key=key: f"{key}: {text}", **(bounds or CLOSE))


@pytest.mark.parametrize("name", SHAPES)
def test_logits_and_gradients_are_those_of_the_cpu(name, device):
    batch = join_documents(make_documents(name))
    here, there = build(name), accelerate(build(name)).to(device)
    logits = there.head(there(batch.to(device)))
    torch.testing.assert_close(logits.cpu(), here.head(here(batch)), **CLOSE)
    loss, wanted = gradients(here, [batch])
    found_loss, found = gradients(there, [batch])
    torch.testing.assert_close(found_loss, loss, **CLOSE)
    assert_alike(found, wanted)


@pytest.mark.parametrize("name", SHAPES)
def test_documents_packed_are_as_each_alone(name, device):
    model, documents = build(name).to(device), make_documents(name)
    loss, wanted = gradients(model, documents)
    packed_loss, found = gradients(model, [join_documents(documents)])
    torch.testing.assert_close(packed_loss, loss, **CLOSE)
    assert_alike(found, wanted)


@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_is_near(name, device):
    batch = join_documents(make_documents(name))
    exact, lean = (
        build(name, dtype=torch.float32),
        accelerate(build(name, dtype=torch.float32)).to(device, torch.bfloat16),
    )
    wanted = exact.head(exact(batch))
    logits = lean.head(lean(batch.to(device))).float().cpu()
    assert ((logits - wanted).norm() / wanted.norm()).item() < 0.05, "eight bits, a few layers"


@pytest.mark.parametrize("name", CAUSAL)
def test_token_by_token_is_the_whole_pass(name, device):
    model, ids = build(name).to(device), tokens(3, 14).to(device)
    layout = Layout.padded(torch.tensor([14, 9, 11], device=device), left=True)
    memory = None if model.encoder is None else model.encode(tokens(3, 6, seed=3).to(device))
    with torch.no_grad():
        whole, cache = model.decode(ids, layout, memory=memory), model.new_cache()
        steps = []
        for start, end in ((0, 8), *((place, place + 1) for place in range(8, 14))):
            assert layout.documents is not None
            part = Layout(layout.positions[:, start:end], layout.documents[:, start:end])
            steps.append(model.decode(ids[:, start:end], part, memory=memory, cache=cache))
    inside = layout.documents.cpu().bool()
    torch.testing.assert_close(torch.cat(steps, 1).cpu()[inside], whole.cpu()[inside], **CLOSE)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_is_that_of_torch_and_so_are_its_gradients(smoothing, dtype, device):
    head = build("pair_post_sinusoidal", dtype=dtype).head.to(device)  # with a bias
    hidden = torch.randn(3, 50, 16, device=device, dtype=dtype, requires_grad=True)
    labels = tokens(3, 50).to(device)
    labels[:, ::7] = -100
    total, count = sum_cross_entropy(head, hidden, labels, smoothing=smoothing)
    total.backward()
    made = hidden.grad
    assert made is not None
    hidden.grad = None
    logits = head(hidden).double()
    wanted = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum", label_smoothing=smoothing)
    wanted.backward()
    assert hidden.grad is not None
    assert count == int((labels != -100).sum())
    bound = 1e-5 if dtype == torch.float32 else 0.02
    assert abs(total.item() / wanted.item() - 1.0) < bound
    assert ((made - hidden.grad).float().norm() / hidden.grad.float().norm()).item() < bound
    if not smoothing:
        assert abs(token_cross_entropy(head, hidden, labels).sum().item() / wanted.item() - 1.0) < bound
