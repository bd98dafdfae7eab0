"""How the gradient of a step is made: pass after pass, in a tree, or by processes that hold a share of the weights each.

A trainer asks for one pass at a time, and at the end of the step for the sum.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from trifold.batch import Batch
from trifold.errors import CapacityError
from trifold.locale import message
from trifold.model import Transformer
from trifold.objective import Criterion
from trifold.training.config import Training
from trifold.training.group import Alone
from trifold.training.precision import Weights
from trifold.training.step import Sums, add_up

__all__ = ["Gradients", "Shares", "Tree", "choose_gradients"]

KEY = "gradient"
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


class Gradients:
    """The gradients of a step's passes, added up one after another, in the precision of the exact weights.

    Args:
        weights: whose gradients they are.
        model: that computes with the lean ones.
        group: the processes that share the work.

    Attributes:
        lean: whether the gradient of a step's only pass may stay in the format of the lean weights.
        sums: of the passes so far, by name of the weight.

    Raises:
        CapacityError: from `make`, where memory does not suffice for a single row.
    """

    def __init__(self, weights: Weights, model: Transformer, group: Alone) -> None:
        self.weights, self.model, self.group = weights, model, group
        self.lean = group.size == 1
        self.sums: dict[str, Tensor] = {}
        self._parts = 1

    def make(self, objective: Criterion, batch: Batch, scale: float) -> Sums:
        """Add the gradient of a batch's summed loss over `scale`; what the loss came to.

        Where memory does not suffice, the batch is computed in smaller parts, which gives the same.
        """
        waiting, done = batch.split(self._parts), []
        while waiting:
            found = self._try(objective, waiting[0], scale)
            if found is not None:
                done.append(found)
                waiting.pop(0)
                continue
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()  # what is left lies in pieces too small for anything
            rows = waiting[0].num_rows
            if rows == 1:
                raise CapacityError("training.out_of_memory", places=waiting[0].num_tokens)
            self.halve(rows)
            waiting[:1] = waiting[0].split(2)
            warnings.warn(message("training.halved", rows=rows, half=waiting[0].num_rows), stacklevel=2)
        return add_up(done, Sums())

    def halve(self, rows: int) -> None:
        """Compute batches in parts of half as many rows from now on."""
        del rows
        self._parts *= 2

    def _try(self, objective: Criterion, batch: Batch, scale: float) -> Sums | None:
        """The loss of a batch, whose gradient is added; None where memory does not suffice."""
        try:
            loss = objective.loss(self.model, batch)
            (loss.sum / scale).backward()
        except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError, on a CPU a plain one
            if not isinstance(error, MemoryError) and not any(words in str(error) for words in NO_MEMORY):
                raise
            self.weights.drop_gradients()
            return None
        self.collect()
        return Sums.of(loss)

    def collect(self) -> None:
        """Add the gradients that a backward pass left at the lean weights."""
        weights = self.weights
        for name, lean in weights.lean.items():
            if lean.grad is not None:
                if name in self.sums:
                    before = self.sums[name].to(weights.exact[name].dtype)
                    self.sums[name] = before.add_(lean.grad)
                else:
                    self.sums[name] = lean.grad if weights.shared or name in weights.followed else lean.grad.float()
                lean.grad = None

    def close_pass(self, number: int) -> None:
        """This process's `number`-th pass of the step, from 1, is done."""

    def place(self, factor: float) -> None:
        """Make the sum over all passes of all processes, times a factor, the gradient of the exact weights."""
        self.sums = self.group.add(self.sums, self.weights.exact)
        for name, exact in self.weights.exact.items():
            exact.grad = self.sums.pop(name, None)
        self.weights.scale_gradients(factor)

    @property
    def parts(self) -> list[dict[str, Tensor]]:
        """What the passes of a step that is not done have added up to."""
        return [self.sums]

    @parts.setter
    def parts(self, parts: list[dict[str, Tensor]]) -> None:
        self.sums = parts[0] if parts else {}

    def state(self) -> dict[str, Tensor]:
        """What a later process needs to go on with the step, by `weight|gradient` and a number."""
        return {
            f"{name}|{KEY}{number or ''}": value
            for number, part in enumerate(self.parts)
            for name, value in part.items()
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Go on from what `state` gave; gives back the tensors that have other keys."""
        parts: dict[int, dict[str, Tensor]] = {}
        others: dict[str, Tensor] = {}
        for full, value in tensors.items():
            name, _, key = full.rpartition("|")
            if key.startswith(KEY):
                number = int(key.removeprefix(KEY) or 0)
                parts.setdefault(number, {})[name] = value.to(self.weights.exact[name].device)
            else:
                others[full] = value
        self.parts = [parts[number] for number in sorted(parts)]
        return others


class Tree(Gradients):
    """Gradients added in the order of a binary tree, which is the same for any number of processes.

    Passes 1 and 2 are added, then 3 and 4, then these two pairs, as bits carry in a counter. So a process that has half of
    the passes holds half of the tree, and any power of two of processes adds in the same order.
    """

    def __init__(self, weights: Weights, model: Transformer, group: Alone) -> None:
        super().__init__(weights, model, group)
        self.lean = False
        self.branches: list[dict[str, Tensor]] = []

    def close_pass(self, number: int) -> None:
        """Put this process's `number`-th pass of the step, from 1, into the tree."""
        self.branches.append(self.sums)
        self.sums = {}
        while number % 2 == 0:
            self._join()
            number //= 2

    def place(self, factor: float) -> None:
        """Make one sum of the tree, and that over all processes the gradient."""
        while len(self.branches) > 1:
            self._join()
        self.sums = self.branches.pop() if self.branches else {}
        super().place(factor)

    def _join(self) -> None:
        last = self.branches.pop()
        for name, value in last.items():
            before = self.branches[-1].get(name)
            self.branches[-1][name] = value if before is None else before.add_(value)

    @property
    def parts(self) -> list[dict[str, Tensor]]:
        """The branches."""
        return self.branches

    @parts.setter
    def parts(self, parts: list[dict[str, Tensor]]) -> None:
        self.branches = parts


class Shares(Gradients):
    """Gradients that torch adds up by itself after each pass, and of which each process holds a share."""

    def __init__(self, weights: Weights, model: Transformer, group: Alone) -> None:
        super().__init__(weights, model, group)
        self.lean = False

    def halve(self, rows: int) -> None:
        """Refused: the others would wait for what this process leaves out.

        Raises:
            CapacityError: always.
        """
        raise CapacityError("training.cannot_halve", rows=rows, half=(rows + 1) // 2)

    def collect(self) -> None:
        """Nothing is left to do."""

    def place(self, factor: float) -> None:
        """They are where they belong."""
        self.weights.scale_gradients(factor)


def choose_gradients(training: Training, weights: Weights, model: Transformer, group: Alone) -> Gradients:
    """The way that the training asks for."""
    if group.in_step:
        return Shares(weights, model, group)
    return (Tree if training.deterministic else Gradients)(weights, model, group)
