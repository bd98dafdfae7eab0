"""nanoGPT, from a checkout: its model, and the step of its `train.py` (autocast, fused AdamW, clipping)."""

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.work import Work

__all__ = ["build", "held_out_loss", "train"]


def build(work: Work, *, words: int, length: int, dropout: float = 0.0) -> Any:
    """Its model of 6 layers, 384 wide, without biases, from seed 0."""
    spec = importlib.util.spec_from_file_location("peer_nanogpt", Path(work.checkouts["nanogpt"]) / "model.py")
    assert spec is not None, work.checkouts
    assert spec.loader is not None, work.checkouts
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 64} if work.smoke else {"n_layer": 6, "n_head": 6, "n_embd": 384}
    config = module.GPTConfig(block_size=length, vocab_size=words, dropout=dropout, bias=False, **shape)
    return module.GPT(config).to(work.device)


def train(
    work: Work, model: Any, optimizer: Any, ids: Tensor, *, rows: int, length: int, compiled: bool = True
) -> Iterator[float]:
    """Train without end; gives the loss of each step when it is done.

    Args:
        work: where to compute.
        model: from `build`.
        optimizer: from the model's `configure_optimizers`.
        ids: the text, `[places]`; rows are cut out of it anywhere.
        rows: of a batch.
        length: of a row.
        compiled: whether the model is compiled, as is its default.
    """
    forward: Any = torch.compile(model) if compiled and not work.smoke else model
    while True:
        at = torch.randint(len(ids) - length - 1, (rows,))
        loss = loss_of(work, forward, ids, at, length)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def loss_of(work: Work, model: Any, ids: Tensor, at: Tensor, length: int) -> Tensor:
    """Mean nats a token of the rows that begin `at`; by autocast in bfloat16, where the device is fastest in it."""
    x, y = (torch.stack([ids[one + shift : one + shift + length] for one in at]) for shift in (0, 1))
    half = work.precision == "bfloat16"
    with torch.autocast(work.device, torch.bfloat16) if half else contextlib.nullcontext():
        return model(x.to(work.device), y.to(work.device))[1]


@torch.no_grad()
def held_out_loss(work: Work, model: Any, ids: Tensor, *, rows: int, length: int) -> float:
    """Mean nats a token over `ids`, cut into rows that follow each other."""
    model.eval()
    starts = torch.arange(0, len(ids) - length, length)
    total = 0.0
    for at in starts.split(rows):
        total += loss_of(work, model, ids, at, length).item() * len(at)
    model.train()
    return total / len(starts)
