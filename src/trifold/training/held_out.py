"""The loss on text that is held out."""

import math
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch

from trifold.batch import Batch
from trifold.model import Transformer
from trifold.objective import Criterion
from trifold.training.group import Alone
from trifold.training.step import Sums, add_up, whole

__all__ = ["Evaluation", "evaluate_loss"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Loss on held-out text.

    Attributes:
        loss: summed loss over summed weight; for language models mean nats a target token.
        bits_per_byte: summed bits over the bytes of raw text that the targets stand for; None where those are unknown.
        tokens: number of target tokens, or whatever else the losses give as their weight.
        num_bytes: those bytes.
        metric: what a task measured, where it is not the loss that counts; None otherwise.
        step: after which it was made.
        metric_name: what `metric` is called.
        enough: whether training should stop here, because it no longer helps.
        best: whether none before was better.
        metrics: what else the losses say, each summed and divided by the summed weight.
    """

    loss: float
    bits_per_byte: float | None
    tokens: float
    num_bytes: int
    metric: float | None = None
    step: int = 0
    metric_name: str = ""
    enough: bool = False
    best: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)


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
                mine.append(Sums.of(objective.loss(model, batch.to(device))))
            rows += 0 if batch.labels is None else len(batch.labels)
            if max_rows and rows >= max_rows:
                break
        if group.in_step and batch is not None and 0 < number % group.size <= group.rank:
            objective.loss(model, batch.to(device))  # no batch is left for it, but the others pass through the model
    sums = add_up(group.collect(mine, number), Sums())
    model.train(was_training)
    num_bytes = int(sums.metrics.get("bytes", 0.0))
    bits = sums.loss / math.log(2) / num_bytes if num_bytes else None
    return Evaluation(sums.mean, bits, whole(sums.weight), num_bytes, metrics=sums.means())
