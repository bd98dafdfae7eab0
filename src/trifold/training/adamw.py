"""AdamW in one pass over memory, for weights whose model computes in bfloat16 on a CPU.

A step reads the gradient as the model gave it, moves weight and moments, and writes the model's copy: 30 bytes a weight,
where widening the gradient, scaling it, torch's own step and rounding the copy take 52.
"""

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from trifold.native import Adam, Moved, get_passes

__all__ = ["AdamW", "PlainAdamW"]


class PlainAdamW(torch.optim.AdamW):
    """Torch's, without the wrappers that load torch's compiler when it is made and at its first step: a second or more.

    Example:
        >>> PlainAdamW([torch.ones(2, requires_grad=True)], lr=0.5).param_groups[0]["lr"]
        0.5
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class AdamW(PlainAdamW):
    """Torch's, with the same state; gradients are bfloat16 or float32, and copies of the weights follow at once.

    Args:
        groups: weights in float32, contiguous, with their options; `grad_dtype` None, so that any gradient may be placed.
        copies: the bfloat16 copy of each weight, and perhaps of others.
        options: as torch has them.

    Attributes:
        copies: those that `step` writes.
        factor: what gradients are multiplied by in the next step.

    Example:
        >>> from trifold.native import load_passes
        >>> weight, copy = torch.ones(2), torch.ones(2).bfloat16()
        >>> weight.grad_dtype = None  # of any format
        >>> weight.grad = torch.ones(2).bfloat16()
        >>> load_passes() is None or AdamW([{"params": [weight]}], {weight: copy}, lr=0.5, weight_decay=0.0).step()
        >>> copy.tolist() in ([0.5, 0.5], [1.0, 1.0])
        True
    """

    def __init__(self, groups: Iterable[dict[str, Any]], copies: Mapping[Tensor, Tensor], **options: Any) -> None:
        super().__init__(groups, **options)
        self.copies = {weight: copies[weight] for group in self.param_groups for weight in group["params"]}
        self.factor = 1.0
        for weight, copy in self.copies.items():
            if copy.requires_grad:  # now, while no larger block waits that would be taken for good
                self._begin(weight)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        del closure
        for group in self.param_groups:
            moving = [weight for weight in group["params"] if weight.grad is not None]
            by_step: dict[int, list[Moved]] = {}
            for weight in moving:
                by_step.setdefault(self._count(weight), []).append(self._moved(weight))
            for step, moved in by_step.items():
                get_passes().adamw(moved, self._numbers(group, step))

    def _count(self, weight: Tensor) -> int:
        """Which step of this weight it is, from 1."""
        if not self.state[weight]:
            self._begin(weight)
        self.state[weight]["step"] += 1
        return int(self.state[weight]["step"])

    def _begin(self, weight: Tensor) -> None:
        moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
        self.state[weight] = {"step": torch.tensor(0.0), **moments}

    def _moved(self, weight: Tensor) -> Moved:
        state, copy, grad = self.state[weight], self.copies[weight], weight.grad
        assert grad is not None
        weight.grad = grad = grad.contiguous()
        parts = (weight, state["exp_avg"], state["exp_avg_sq"], grad, copy)
        assert all(part.is_contiguous() for part in parts), "memory is read as it lies"
        *held, given, written = (part.data_ptr() for part in parts)
        gradient = (given, None) if grad.dtype == torch.bfloat16 else (None, given)
        return Moved(weight.numel(), *held, *gradient, written)

    def _numbers(self, group: Mapping[str, Any], step: int) -> Adam:
        (beta1, beta2), rate = group["betas"], group["lr"]
        return Adam(
            self.factor,
            1.0 - rate * group["weight_decay"],
            beta1,
            beta2,
            rate / (1.0 - beta1**step),
            1.0 / math.sqrt(1.0 - beta2**step),
            group["eps"],
        )
