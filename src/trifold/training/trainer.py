"""The one training loop: any model, any objective, any data.

    for step in trainer.steps():        # the caller may own the loop
        print(step.step, step.loss)

The loss of a step is the sum over all its target tokens divided by their number, however many passes they came in, so
accumulation, packing and padding cannot change the gradient.
"""

import math
import statistics
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from trifold.batch import Batch
from trifold.errors import CapacityError, NonFiniteError
from trifold.locale import message
from trifold.model import Transformer
from trifold.objective import Criterion
from trifold.training.adamw import AdamW
from trifold.training.config import Training
from trifold.training.group import Alone
from trifold.training.memory import settled
from trifold.training.optimizer import build_optimizers, set_learning_rate
from trifold.training.precision import Weights, choose_device, choose_dtype
from trifold.training.schedule import learning_rate_factor
from trifold.training.sharded import Sharded
from trifold.training.step import Batches, Counted, Partial, Step, add_up, count_targets, seed_of

__all__ = ["Trainer"]

RECENT, FEWEST = 64, 16
"""Steps that a spike is measured against, and how many there must be."""
BAD_IN_A_ROW = 3
"""From so many bad steps one after another on, leaving them out no longer helps."""
GRADIENT = "gradient"
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class Trainer:
    """Trains a model on an objective.

    Args:
        model: trained in place.
        objective: prepares nothing here, only gives the loss of a batch.
        batches: where batches come from; training ends with them, where they end.
        training: how.
        group: the processes that share the work; None for this one alone.

    Attributes:
        between: called between two passes of one step, where the process is alone. What it raises ends `steps`; `state`
            then holds the step's part.
        partial: how far the step has come that is not done; None between steps.
        is_whole: False while an optimizer moves the weights: if that fails, they are those of no step.
        suspect: the batches of a step that went wrong.

    Raises:
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
    ) -> None:
        self.training, self.objective, self.group = training, objective, group or Alone()
        self.batches = batches if isinstance(batches, Batches) else Counted(batches)
        self.device = choose_device(training.device)
        self.dtype = choose_dtype(training.dtype, self.device)
        self.model = model
        self.weights = (Sharded if self.group.in_step else Weights)(model.to(self.device), self.dtype)
        copies = self.weights.copies() if self.group.size == 1 and not training.deterministic else None
        self.optimizers = build_optimizers(
            training.optimizer, self.weights.exact, layer_decay=training.layer_decay, copies=copies
        )
        self._one_pass = [one for one in self.optimizers if isinstance(one, AdamW)]
        self.weights.follow(weight for one in self._one_pass for weight in one.copies)
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.between: Callable[[], None] = lambda: None
        self.partial: Partial | None = None
        self.is_whole = True
        self.suspect: list[Batch] = []
        self._recent: dict[str, deque[float]] = {"loss": deque(maxlen=RECENT), "norm": deque(maxlen=RECENT)}
        self._bad, self._parts, self._place = 0, 1, self.batches.state_dict()
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
        """Train until the run is done, one optimizer step at a time."""
        self.model.train()
        stream = iter(self.batches)
        with settled():
            while self.progress < 1.0:
                start = time.perf_counter()
                micro_batches = list(islice(stream, self.training.accumulation))
                if not micro_batches or (self.group.size > 1 and len(micro_batches) < self.training.accumulation):
                    warnings.warn(message("training.data_ended", step=self.step), stacklevel=2)
                    return
                yield self._step(micro_batches, start)
                if not self.model.training:  # the caller may have evaluated it
                    self.model.train()

    def _step(self, micro_batches: list[Batch], start: float) -> Step:
        count = sum(count_targets(batch) for batch in micro_batches)
        with self.group.working():
            total = self._backward(micro_batches, count)
        # the middle of the step, so that the last step still moves when the schedule ends at zero
        rate = set_learning_rate(self.optimizers, learning_rate_factor(self.training.schedule, self._middle(count)))
        norm = self._clip()
        good = self._is_good(total, norm)
        if good:
            self._move()
        self.weights.clear_gradients()
        if not good:
            self._refuse(micro_batches, total, norm)
        seconds = self.group.settle(time.perf_counter() - start)
        self.step, self.tokens, self.seconds = self.step + 1, self.tokens + count, self.seconds + seconds
        self._place = self.batches.state_dict()
        places = sum(batch.num_tokens for batch in micro_batches)
        done = min(self.progress, 1.0)
        remaining = self.seconds * (1.0 - done) / done
        return Step(
            self.step, self.tokens, total, rate, norm, places / seconds, self.seconds, done, remaining, not good
        )

    def _move(self) -> None:
        self.is_whole = False
        for optimizer in self.optimizers:
            optimizer.step()
        self.weights.refresh(after_step=True)
        self.is_whole = True

    def _is_good(self, total: float, norm: float) -> bool:
        """Whether loss and gradient are numbers, and no spike where spikes are looked for."""
        found, limit = {"loss": total, "norm": norm}, self.training.spike
        good = all(map(math.isfinite, found.values()))
        if good and limit is not None and len(self._recent["loss"]) >= FEWEST:
            good = all(value <= limit * statistics.median(self._recent[name]) for name, value in found.items())
        if good:
            self._bad = 0
            for name, value in found.items():
                self._recent[name].append(value)
        return good

    def _refuse(self, micro_batches: list[Batch], total: float, norm: float) -> None:
        """Leave a bad step out, where that is wanted and has not been done too often in a row."""
        self._bad += 1
        found = {"step": self.step + 1, "loss": total, "norm": norm, "place": self._place}
        if self.training.on_bad_step == "skip" and self._bad < BAD_IN_A_ROW:
            if self.group.is_first:
                warnings.warn(message("training.skipped", **found), stacklevel=2)
            return
        self.suspect = micro_batches
        code = "training.non_finite" if not math.isfinite(total + norm) else "training.spiked"
        raise NonFiniteError(code, **found)

    def _backward(self, micro_batches: list[Batch], count: int) -> float:
        begun, start = self.partial or Partial(0, 0.0), time.perf_counter()
        own, losses = self.group.share(len(micro_batches)), []
        for number, index in enumerate(own, 1):
            if index < begun.passes:
                continue
            # dropout depends on the place, not on the past
            torch.manual_seed(seed_of(self.training.seed, self.step, index))
            batch = micro_batches[index].to(self.device)
            self._compile(batch)
            losses.append(self._pass(batch, count))
            if self.training.deterministic:
                self.weights.close_pass(number)
            if self.group.size == 1:
                self.partial = Partial(index + 1, add_up(losses, begun.total))
                if index + 1 < len(micro_batches):
                    self.between()
        self.partial = None
        total = add_up(self.group.exchange(losses, time.perf_counter() - start), begun.total)
        if self.training.deterministic:
            self.weights.close_tree()
        self.weights.sums = self.group.add(self.weights.sums, self.weights.exact)
        self.weights.place_gradients()
        return total / max(count, 1)

    def _pass(self, batch: Batch, count: int) -> float:
        """Add a batch's gradient; in smaller parts where memory does not suffice, which gives the same."""
        waiting, total = batch.split(self._parts), 0.0
        while waiting:
            found = self._try(waiting[0], count)
            if found is not None:
                total += found
                waiting.pop(0)
                continue
            rows = waiting[0].num_rows
            if rows == 1:
                raise CapacityError("training.out_of_memory", places=waiting[0].num_tokens)
            if self.group.in_step:  # the others would wait for what this one leaves out
                raise CapacityError("training.cannot_halve", rows=rows, half=(rows + 1) // 2)
            self._parts *= 2
            waiting[:1] = waiting[0].split(2)
            warnings.warn(message("training.halved", rows=rows, half=waiting[0].num_rows), stacklevel=2)
        return total

    def _try(self, batch: Batch, count: int) -> float | None:
        """The summed loss of a batch, its gradient collected; None where memory does not suffice."""
        try:
            loss = self.objective.loss(self.model, batch)
            (loss.sum / max(count, 1)).backward()
        except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError, on a CPU a plain one
            if not isinstance(error, MemoryError) and not any(words in str(error) for words in NO_MEMORY):
                raise
            self.weights.drop_gradients()
            return None
        self.weights.collect_gradients()
        return loss.sum.item()

    def _middle(self, count: int) -> float:
        if self.training.steps is not None:
            return (self.step + 0.5) / self.training.steps
        return (self.tokens + count / 2) / self.training.tokens if self.training.tokens is not None else self.progress

    def _clip(self) -> float:
        """The norm of all gradients, which are scaled down where it is above the limit."""
        with self.group.meeting("training.doing_gradients"):
            norm = self.weights.norm()
        limit, found = self.training.clip, norm.item()
        factor = 1.0
        if limit is not None and found > limit:
            factor = limit / (found + 1e-6)
            others = [exact for name, exact in self.weights.exact.items() if name not in self.weights.followed]
            torch.nn.utils.clip_grads_with_norm_(others, limit, norm)
        for optimizer in self._one_pass:
            optimizer.factor = factor
        return found

    def _compile(self, batch: Batch) -> None:
        """Compile at the first batch; a compiler that fails is reported and left out."""
        if self._compiled:
            return
        self._compiled = True
        stacks = [stack for stack in (self.model.encoder, self.model.decoder) if stack is not None]
        try:
            for stack in stacks:
                stack.compile()
            with torch.no_grad():
                self.model(batch)
        except Exception as error:  # noqa: BLE001 - torch.compile raises what its many back ends raise
            for stack in stacks:
                stack._compiled_call_impl = None  # noqa: SLF001 - undoes nn.Module.compile, which has no public undo
            problem = (str(error) or type(error).__name__).splitlines()[0][:200]
            warnings.warn(message("training.compile_failed", problem=problem), stacklevel=2)

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """All that a later process needs to go on: tensors by name, and numbers."""
        tensors = self._gradients() if self.partial is not None else {}
        names = {id(value): name for name, value in self.weights.exact.items()}
        for optimizer in self.optimizers:
            for parameter, values in optimizer.state.items():
                for key, value in values.items():
                    tensors[f"{names[id(parameter)]}|{key}"] = self.weights.local(torch.as_tensor(value)).contiguous()
        numbers: dict[str, object] = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds}
        numbers |= {"bad": self._bad, "recent": {name: list(values) for name, values in self._recent.items()}}
        if self.partial is not None:
            numbers["partial"] = [self.partial.passes, self.partial.total]
        return tensors, {**numbers, "batches": self._place}

    def _gradients(self) -> dict[str, Tensor]:
        """What the passes of a step that is not done have added up to: one sum, or the branches of a tree."""
        parts = self.weights.branches if self.training.deterministic else [self.weights.sums]
        return {f"{name}|{GRADIENT}{number or ''}": value
                for number, part in enumerate(parts) for name, value in part.items()}  # fmt: skip

    def _load_gradients(self, by_name: Mapping[str, dict[str, Tensor]]) -> None:
        parts: dict[str, dict[str, Tensor]] = {}
        for name, values in by_name.items():
            for key in [key for key in values if key.startswith(GRADIENT)]:
                parts.setdefault(key, {})[name] = values.pop(key).to(self.weights.exact[name].device)
        branches = [parts[key] for key in sorted(parts, key=lambda key: (len(key), key))]
        if self.training.deterministic:
            self.weights.branches = branches
        else:
            self.weights.sums = branches[0] if branches else {}

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; the model's exact weights must have been loaded before."""
        by_name: dict[str, dict[str, Tensor]] = {}
        for full, value in tensors.items():
            name, _, key = full.rpartition("|")
            by_name.setdefault(name, {})[key] = value
        exact = self.weights.exact
        self._load_gradients(by_name)
        for optimizer in self.optimizers:
            owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            for name, parameter in exact.items():
                if id(parameter) in owned:
                    values = by_name.get(name, {})
                    optimizer.state[parameter] = {key: one.to(_device(one, parameter)) for key, one in values.items()}
        self.step, self.tokens, self.seconds = int(numbers["step"]), int(numbers["tokens"]), float(numbers["seconds"])
        passes, total = numbers.get("partial", (0, 0.0))
        self.partial = Partial(int(passes), float(total)) if passes else None
        if self.group.size > 1:  # a step that is not done is done again, by all
            self.partial, self.weights.sums, self.weights.branches = None, {}, []
        self._bad = int(numbers["bad"])
        self._recent = {name: deque(map(float, numbers["recent"][name]), maxlen=RECENT) for name in self._recent}
        self.go_to(numbers["batches"])

    def go_to(self, place: Mapping[str, int]) -> None:
        """Take the next step's batches from another place."""
        self.batches.load_state_dict(place)
        self._place = dict(place)


def _device(value: Tensor, parameter: Tensor) -> torch.device:
    """Step counters stay on the CPU unless the optimizer is fused on the parameter's device."""
    return parameter.device if value.ndim or parameter.is_cuda else torch.device("cpu")
