"""G3: documents packed into one row behave as each alone, in loss and in gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.shapes import CAUSAL, PAIRS, SHAPES, build, tokens
from trifold.batch import Batch, Layout
from trifold.model import Transformer

SOURCES, TARGETS = [7, 1, 9, 4], [5, 8, 1, 6]
CLOSE = {"rtol": 0.0, "atol": 1e-12}


def make_documents(name: str) -> list[Batch]:
    """Four documents of unequal length, each by itself."""
    made = []
    for index, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        left, right = tokens(1, source, seed=index), tokens(1, target, seed=10 + index)
        labels = tokens(1, target if name in CAUSAL else source, seed=20 + index)
        made.append(_sides(name, left, right, Layout.whole(1, source), Layout.whole(1, target), labels))
    return made


def _sides(name: str, source: Tensor, target: Tensor, left: Layout, right: Layout, labels: Tensor) -> Batch:
    if name in PAIRS:
        return Batch(source, target, left, right, labels)
    if name in CAUSAL:
        return Batch(target=target, target_layout=right, labels=labels)
    return Batch(source, source_layout=left, labels=labels)


def _pack(parts: list[Tensor | None], padding: int) -> tuple[Tensor | None, Layout | None]:
    if parts[0] is None:
        return None, None
    ids = torch.cat([*parts, tokens(1, padding, seed=77)], 1)  # type: ignore[list-item]
    lengths = [part.shape[1] for part in parts]  # type: ignore[union-attr]
    positions = torch.cat([*(torch.arange(n) for n in lengths), torch.zeros(padding, dtype=torch.long)])
    documents = [number for number, n in enumerate(lengths, 1) for _ in range(n)] + [0] * padding
    return ids, Layout(positions[None], torch.tensor([documents]))


def join_documents(documents: list[Batch]) -> Batch:
    """The same in one row, with padding at its end."""
    source, left = _pack([one.source for one in documents], 3)
    target, right = _pack([one.target for one in documents], 2)
    labels = torch.cat([one.labels for one in documents], 1)  # type: ignore[misc]
    rest = (target if target is not None else source).shape[1] - labels.shape[1]  # type: ignore[union-attr]
    return Batch(source, target, left, right, F.pad(labels, (0, rest), value=-100))


def _gradients(model: Transformer, batches: list[Batch]) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    loss = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        logits = model.head(model(batch)).flatten(0, 1)
        assert batch.labels is not None
        loss = loss + F.cross_entropy(logits, batch.labels.flatten(), ignore_index=-100, reduction="sum")
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", SHAPES)
def test_g3_packed_equals_alone_in_loss_and_gradients(name: str) -> None:
    model, documents = build(name), make_documents(name)
    loss, grads = _gradients(model, documents)
    packed_loss, packed_grads = _gradients(model, [join_documents(documents)])
    torch.testing.assert_close(packed_loss, loss, rtol=1e-14, atol=0.0)
    assert grads.keys() == packed_grads.keys()
    for key, value in grads.items():
        torch.testing.assert_close(packed_grads[key], value, msg=lambda text, key=key: f"{key}: {text}", **CLOSE)


@pytest.mark.parametrize("name", SHAPES)
def test_g9_checkpointing_changes_no_gradient(name: str) -> None:
    model, documents = build(name), make_documents(name)
    batch = join_documents(documents)
    loss, grads = _gradients(model.train(), [batch])  # dropout is 0 in these shapes
    for stack in (model.encoder, model.decoder):
        if stack is not None:
            stack.checkpointing = True
    again, recomputed = _gradients(model, [batch])
    assert torch.equal(loss, again)
    assert all(torch.equal(grads[key], recomputed[key]) for key in grads)
