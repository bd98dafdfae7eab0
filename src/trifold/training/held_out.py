"""The loss on text that is held out."""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from trifold.batch import Batch
from trifold.model import Transformer
from trifold.objective import Criterion
from trifold.training.group import Alone

__all__ = ["Evaluation", "evaluate_loss"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Loss on held-out text.

    Attributes:
        loss: mean nats per target token.
        bits_per_byte: summed bits over the bytes of raw text that the targets stand for; None where those are unknown.
        tokens: number of target tokens.
        num_bytes: those bytes.
        metric: what a task measured, where it is not the loss that counts; None otherwise.
        enough: whether training should stop here, because it no longer helps.
    """

    loss: float
    bits_per_byte: float | None
    tokens: int
    num_bytes: int
    metric: float | None = None
    enough: bool = False


@torch.no_grad()
def evaluate_loss(
    model: Transformer,
    objective: Criterion,
    batches: Iterable[Batch],
    *,
    max_rows: int = 0,
    group: Alone | None = None,
) -> Evaluation:
    """The loss over batches, or over their first `max_rows` rows (0 for all).

    The model is left in the mode it was in. The processes of `group` take turns at the batches; what they found is added
    up in the order of the batches, so their number does not change it.
    """
    group = group or Alone()
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    mine, batch, number, rows = [], None, 0, 0
    with group.working() if group.in_step else nullcontext():
        for number, batch in enumerate(batches, 1):
            if group.owns(number - 1):
                loss = objective.loss(model, batch.to(device))
                mine.append((loss.sum.item(), loss.count, loss.num_bytes))
            rows += 0 if batch.labels is None else len(batch.labels)
            if max_rows and rows >= max_rows:
                break
        if group.in_step and batch is not None and 0 < number % group.size <= group.rank:
            objective.loss(model, batch.to(device))  # no batch is left for it, but the others pass through the model
    nats, count, num_bytes = 0.0, 0, 0
    for one in group.collect(mine, number):
        nats, count, num_bytes = nats + one[0], count + int(one[1]), num_bytes + int(one[2])
    model.train(was_training)
    bits = nats / math.log(2) / num_bytes if num_bytes else None
    return Evaluation(nats / max(count, 1), bits, count, num_bytes)
