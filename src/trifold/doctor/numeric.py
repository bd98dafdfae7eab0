"""Checks of the model's numbers: who sees whom, and what must not change the gradient.

Axes: B batch, S sequence.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trifold.batch import Batch, Layout
from trifold.data import Room
from trifold.data.packing import assemble, fill_rows
from trifold.doctor.finding import Finding, difference, measured, not_for
from trifold.doctor.subject import Subject
from trifold.example import TrainingExample
from trifold.training import AdamW, Schedule, Trainer, Training
from trifold.training.adapter import add_adapters, merge_adapters

__all__ = ["accumulation", "cached", "causal", "frozen", "merged", "packed", "padding"]

PLACES, TOGETHER = 12, 3
TARGETS = ("q_proj", "v_proj")


@torch.no_grad()
def causal(subject: Subject) -> Finding:
    """Tokens that come later change nothing at earlier places."""
    model = subject.model.eval()
    if model.config.decoder is None:
        return not_for("not_causal")
    ids, memory = _ids(subject, 2), _memory(subject, 2)
    other = ids.clone()
    other[:, PLACES // 2 :] = (other[:, PLACES // 2 :] + 1) % subject.tokenizer.vocab_size
    early = [model.decode(x, memory=memory)[:, : PLACES // 2] for x in (ids, other)]
    return measured(difference(*early), subject.bound)


@torch.no_grad()
def padding(subject: Subject) -> Finding:
    """Padding on either side changes nothing."""
    ids, worst = _ids(subject, 2), 0.0
    alone = _hidden(subject, ids, Layout.whole(2, PLACES))
    for left in (False, True):
        wide = F.pad(ids, (5, 0) if left else (0, 5), value=3)
        layout = Layout.padded(torch.tensor([PLACES, PLACES]), left=left, width=PLACES + 5)
        found = _hidden(subject, wide, layout)
        worst = max(worst, difference(found[:, 5:] if left else found[:, :PLACES], alone))
    return measured(worst, subject.bound)


def packed(subject: Subject) -> Finding:
    """Examples packed into rows have the loss and the gradients that each has alone."""
    examples, room = _examples(subject)
    rows = fill_rows(examples, len(examples), room) or []
    if len(rows) == len(examples):
        return not_for("too_little_text")
    losses, gradients = [], []
    for groups in ([[one] for one in examples], rows):
        loss, found = _gradient(subject, [assemble([group], room, pad=_pad(subject)) for group in groups])
        losses.append(torch.tensor(loss))
        gradients.append(found)
    return measured(max(difference(*losses), _largest(*gradients)), subject.bound)


def accumulation(subject: Subject) -> Finding:
    """One step over several small passes is the step over one big batch."""
    examples, room = _examples(subject)
    rows = [[one] for one in examples[: len(examples) // TOGETHER * TOGETHER]]
    if len(rows) < TOGETHER:
        return not_for("too_little_text")
    batches = [assemble(rows[first::TOGETHER], room, pad=_pad(subject)) for first in range(TOGETHER)]
    moved = [_one_step(subject, batches), _one_step(subject, [assemble(rows, room, pad=_pad(subject))])]
    return measured(_largest(*moved), subject.bound)


@torch.no_grad()
def cached(subject: Subject) -> Finding:
    """Decoding token by token, or in pieces, gives what one whole pass gives."""
    model = subject.model.eval()
    if model.config.decoder is None:
        return not_for("not_causal")
    ids, memory, worst = _ids(subject, 2), _memory(subject, 2), 0.0
    whole = model.decode(ids, memory=memory)
    for sizes in ([1] * PLACES, [5, 1, PLACES - 6]):
        cache, parts = model.new_cache(), ids.split(sizes, dim=1)
        found = torch.cat([model.decode(part, memory=memory, cache=cache) for part in parts], dim=1)
        worst = max(worst, difference(found, whole))
    return measured(worst, subject.bound)


@torch.no_grad()
def merged(subject: Subject) -> Finding:
    """A LoRA adapter merged into the weights computes what it computed beside them."""
    adapted, ids = copy.deepcopy(subject.model).eval(), _ids(subject, 2)
    add_adapters(adapted, TARGETS, rank=2, alpha=4.0)
    for name, value in adapted.named_parameters():
        if name.endswith("lora_b"):
            value.copy_(torch.randn(value.shape, generator=_chance()) * 0.05)
    beside = _hidden(subject, ids, Layout.whole(2, PLACES), model=adapted)
    merge_adapters(adapted)
    return measured(difference(_hidden(subject, ids, Layout.whole(2, PLACES), model=adapted), beside), subject.bound)


def frozen(subject: Subject) -> Finding:
    """Training adapters moves them and nothing else."""
    examples, room = _examples(subject)
    model = copy.deepcopy(subject.model)
    add_adapters(model, TARGETS, rank=2, alpha=4.0)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    batch = assemble([[one] for one in examples[:2]], room, pad=_pad(subject))
    _train(subject, model, [batch], steps=2)
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    adapters = {name for name in before if "lora_" in name}
    count = {"moved": len(moved & adapters), "adapters": len(adapters), "others": len(moved - adapters)}
    return Finding(bool(moved & adapters) and moved <= adapters, _said("moved", **count))


def _said(name: str, **values: object) -> str:
    return not_for(name, **values).detail


def _chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _pad(subject: Subject) -> int:
    return subject.tokenizer.special.pad or 0


def _ids(subject: Subject, rows: int) -> Tensor:
    return torch.randint(subject.tokenizer.vocab_size, (rows, PLACES), generator=_chance())


def _memory(subject: Subject, rows: int) -> Tensor | None:
    return subject.model.encode(_ids(subject, rows)) if subject.model.config.encoder is not None else None


def _hidden(subject: Subject, ids: Tensor, layout: Layout, *, model: torch.nn.Module | None = None) -> Tensor:
    """Hidden states of the ids, on both sides where there are two."""
    shape = subject.model.config
    source = (ids, layout) if shape.encoder is not None else (None, None)
    target = (ids, layout) if shape.decoder is not None else (None, None)
    batch = Batch(source=source[0], source_layout=source[1], target=target[0], target_layout=target[1])
    return (model or subject.model).eval()(batch)


def _examples(subject: Subject) -> tuple[list[TrainingExample], Room]:
    """Some short examples and a room that holds several of them."""
    examples = subject.examples(6, subject.length // TOGETHER)
    return examples, Room(
        source=subject.length * bool(subject.prepared.train.room.source),
        target=subject.length * bool(subject.prepared.train.room.target),
    )


def _gradient(subject: Subject, batches: Sequence[Batch]) -> tuple[float, dict[str, Tensor]]:
    model, total = subject.model.train(), 0.0
    model.zero_grad()
    for batch in batches:
        loss = subject.objective.loss(model, batch)
        loss.sum.backward()
        total += loss.sum.item()
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    return total, found


def _largest(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return max(difference(value, other[name]) for name, value in one.items())


class _Fixed:
    """The same batches for ever."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield from self.batches

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        del state


def _train(subject: Subject, model: torch.nn.Module, batches: Sequence[Batch], *, steps: int = 1) -> None:
    """Steps whose size is nearly proportional to the gradient, so that a difference in it is not enlarged."""
    dtype: Any = str(next(model.parameters()).dtype).removeprefix("torch.")
    optimizer = AdamW(lr=1e-2, eps=1.0, weight_decay=0.0)
    training = Training(
        steps=steps,
        accumulation=len(batches),
        dtype=dtype,
        device="cpu",
        clip=None,
        optimizer=optimizer,
        schedule=Schedule(kind="constant", warmup=0.0),
    )  # type: ignore[arg-type]
    list(Trainer(model, subject.objective, _Fixed(batches), training).steps())  # type: ignore[arg-type]


def _one_step(subject: Subject, batches: Sequence[Batch]) -> dict[str, Tensor]:
    model = copy.deepcopy(subject.model)
    _train(subject, model, batches)
    return {name: value.detach() for name, value in model.named_parameters()}
