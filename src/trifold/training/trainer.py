"""The one training loop: any model, any objective, any data.

    for step in trainer.steps():        # the caller may own the loop
        print(step.step, step.loss)

The loss of a step is the sum of its losses divided by the sum of their weights, such as the number of target tokens,
however many passes they came in, so accumulation, packing and padding cannot change the gradient.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from trifold.acceleration import accelerate
from trifold.batch import Batch
from trifold.errors import NonFiniteError
from trifold.locale import message
from trifold.model import Transformer
from trifold.objective import Criterion
from trifold.training.adamw import AdamW
from trifold.training.bad_step import BadSteps
from trifold.training.compiled import compile_stacks
from trifold.training.config import Training
from trifold.training.gradients import choose_gradients
from trifold.training.group import Alone
from trifold.training.memory import seed_random_state, settled, unchanged_random_state
from trifold.training.optimizer import choose_optimizers, load_optimizer_state, optimizer_state, set_learning_rate
from trifold.training.precision import Weights, choose_device, choose_dtype
from trifold.training.schedule import learning_rate_factor
from trifold.training.sharded import Sharded
from trifold.training.step import Batches, Counted, Partial, Step, Sums, add_up, seed_of, whole

__all__ = ["Trainer"]


class Trainer:
    """Trains a model on an objective.

    Args:
        model: trained in place; between two steps its weights are the exact ones, and may be changed.
        objective: prepares nothing here, only gives the loss of a batch.
        batches: where batches come from; training ends with them, where they end.
        training: how.
        group: the processes that share the work; None for this one alone.
        optimizer: one built for the model's parameters, in place of `training.optimizer`; its learning rates are the peaks
            of `training.schedule`, and parameters that it does not have stay as they are.

    Attributes:
        between: called between two passes of one step, where the process is alone. What it raises ends `steps`; `state`
            then holds the step's part.
        partial: how far the step has come that is not done; None between steps.
        is_whole: False while an optimizer moves the weights: if that fails, they are those of no step.
        suspect: the batches of a step that went wrong.

    Raises:
        ConfigError: `optimizer` has parameters that are not the model's.
        NonFiniteError: from `steps`, when a step is bad and `training.on_bad_step` does not say to leave it out; weights
            stay those of the step before.
        CapacityError: from `steps`, when not even one row fits in memory.
    """

    def __init__(
        self,
        model: Transformer,
        objective: Criterion,
        batches: Batches | Iterable[Batch],
        training: Training,
        *,
        group: Alone | None = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        self.training, self.objective, self.group = training, objective, group or Alone()
        self.batches = batches if isinstance(batches, Batches) else Counted(batches)
        self.device = choose_device(training.device)
        self.dtype = choose_dtype(training.dtype, self.device)
        self.model = accelerate(model)
        self.weights = (Sharded if self.group.in_step else Weights)(model.to(self.device), self.dtype)
        self.gradients = choose_gradients(training, self.weights, model, self.group)
        self.optimizers = choose_optimizers(training, self.weights, lean=self.gradients.lean, own=optimizer)
        self._one_pass = [one for one in self.optimizers if isinstance(one, AdamW)]
        self.weights.follow(weight for one in self._one_pass for weight in one.copies)
        self.step, self.tokens, self.seconds = 0, 0.0, 0.0
        self.between: Callable[[], None] = lambda: None
        self.partial: Partial | None = None
        self.is_whole, self.suspect = True, list[Batch]()
        self.bad_steps = BadSteps(training.spike)
        self._place = self.batches.state_dict()
        for stack in (model.encoder, model.decoder):
            if stack is not None:
                stack.checkpointing = training.gradient_checkpointing
        self._compiled = not training.compile

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1."""
        training = self.training
        if training.steps is not None:
            return self.step / training.steps
        if training.tokens is not None:
            return self.tokens / training.tokens
        assert training.minutes is not None
        return self.seconds / (60.0 * training.minutes)

    def steps(self) -> Iterator[Step]:
        """Train until the run is done, a step at a time; torch's random numbers between steps stay the caller's."""
        self.model.train()
        stream = iter(self.batches)
        with settled():
            while self.progress < 1.0:
                start = time.perf_counter()
                micro_batches = list(islice(stream, self.training.accumulation))
                if not micro_batches or (self.group.size > 1 and len(micro_batches) < self.training.accumulation):
                    warnings.warn(message("training.data_ended", step=self.step), stacklevel=2)
                    return
                with self.weights.computing(), unchanged_random_state(self.device):
                    step = self._step(micro_batches, start)
                yield step
                if not self.model.training:  # the caller may have evaluated it
                    self.model.train()

    def _step(self, micro_batches: list[Batch], start: float) -> Step:
        with self.group.working():
            sums = self._backward(micro_batches)
        total, middle = sums.mean, self._middle(sums.weight)
        # the middle of the step, so that the last step still moves when the schedule ends at zero
        rate = set_learning_rate(self.optimizers, learning_rate_factor(self.training.schedule, middle))
        norm = self._clip()
        good = self.bad_steps.is_good(loss=total, norm=norm)
        if good:
            self._move()
        self.weights.clear_gradients()
        if not good:
            self._refuse(micro_batches, total, norm)
        seconds = self.group.settle(time.perf_counter() - start)
        self.step, self.tokens, self.seconds = self.step + 1, self.tokens + sums.weight, self.seconds + seconds
        self._place = self.batches.state_dict()
        done, speed = min(self.progress, 1.0), sum(batch.num_tokens for batch in micro_batches) / seconds
        remaining = self.seconds * (1.0 - done) / done if done else math.inf
        return Step(
            self.step,
            whole(self.tokens),
            total,
            rate,
            norm,
            speed,
            self.seconds,
            done,
            remaining,
            not good,
            sums.means(),
        )

    def _move(self) -> None:
        self.is_whole = False
        for optimizer in self.optimizers:
            optimizer.step()
        self.weights.refresh(after_step=True)
        self.is_whole = True

    def _refuse(self, micro_batches: list[Batch], total: float, norm: float) -> None:
        """Leave a bad step out, where that is wanted and has not been done too often in a row."""
        facts = {"step": self.step + 1, "loss": total, "norm": norm, "place": self._place}
        if self.training.on_bad_step == "skip" and not self.bad_steps.too_many:
            if self.group.is_first:
                warnings.warn(message("training.skipped", **facts), stacklevel=2)
            return
        self.suspect = micro_batches
        code = "training.non_finite" if not math.isfinite(total + norm) else "training.spiked"
        raise NonFiniteError(code, **facts)

    def _backward(self, micro_batches: list[Batch]) -> Sums:
        """The gradients of all passes, at the exact weights, and what their losses add up to."""
        begun, start = self._begun(micro_batches), time.perf_counter()
        labels = max(sum(batch.num_targets for batch in micro_batches), 1)  # as a rule the weight of the losses
        own, losses = self.group.share(len(micro_batches)), []
        for number, index in enumerate(own, 1):
            if index < begun.passes:
                continue
            # dropout depends on the place, not on the past
            seed_random_state(seed_of(self.training.seed, self.step, index), self.device)
            batch = micro_batches[index].to(self.device)
            if not self._compiled:
                self._compiled = True
                compile_stacks(self.model, batch)
            losses.append(self._pass(batch, labels))
            self.gradients.close_pass(number)
            if self.group.size == 1:
                self.partial = Partial(index + 1, add_up(losses, begun.sums))
                if index + 1 < len(micro_batches):
                    self.between()
        self.partial = None
        sums = add_up(self.group.exchange(losses, time.perf_counter() - start), begun.sums)
        self.gradients.place(labels / sums.weight if sums.weight else 1.0)
        return sums

    def _pass(self, batch: Batch, scale: float) -> Sums:
        return self.gradients.make(self.objective, batch, scale)

    def _begun(self, micro_batches: list[Batch]) -> Partial:
        """What an earlier process did of this step; checkpoints of earlier versions have no weight."""
        begun = self.partial or Partial(0, Sums())
        if not begun.passes or begun.sums.weight:
            return begun
        done = micro_batches[: begun.passes]
        return Partial(begun.passes, replace(begun.sums, weight=float(sum(batch.num_targets for batch in done))))

    def _middle(self, weight: float) -> float:
        if self.training.steps is not None:
            return (self.step + 0.5) / self.training.steps
        return (self.tokens + weight / 2) / self.training.tokens if self.training.tokens is not None else self.progress

    def _clip(self) -> float:
        """The norm of all gradients, which are scaled down where it is above the limit."""
        with self.group.meeting("training.doing_gradients"):
            norm, factor = self.weights.clip(self.training.clip)
        for optimizer in self._one_pass:
            optimizer.factor = factor
        return norm

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """All that a later process needs to go on: tensors by name, and numbers."""
        tensors = self.gradients.state() if self.partial is not None else {}
        tensors |= optimizer_state(self.optimizers, self.weights)
        numbers: dict[str, object] = {"step": self.step, "tokens": whole(self.tokens), "seconds": self.seconds}
        numbers |= self.bad_steps.state()
        if self.partial is not None:
            sums = self.partial.sums
            numbers["partial"] = [self.partial.passes, sums.loss, sums.weight, dict(sums.metrics)]
        return tensors, {**numbers, "batches": self._place}

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; the model's exact weights must have been loaded before."""
        load_optimizer_state(self.optimizers, self.weights, self.gradients.load_state(tensors))
        self.step, self.tokens, self.seconds = int(numbers["step"]), float(numbers["tokens"]), float(numbers["seconds"])
        passes, *sums = numbers.get("partial", (0,))
        self.partial = Partial(int(passes), Sums(*sums)) if passes else None
        if self.group.size > 1:  # a step that is not done is done again, by all
            self.partial = None
            self.gradients.load_state({})
        self.bad_steps.load_state(numbers)
        self.go_to(numbers["batches"])

    def go_to(self, place: Mapping[str, int]) -> None:
        """Take the next step's batches from another place."""
        self.batches.load_state_dict(place)
        self._place = dict(place)
