"""Training in bfloat16 with float32 truth: the model computes with a lean copy of weights that stay exact.

A bfloat16 weight near 1 moves in steps of 1/128, so small updates would vanish. The optimizer therefore moves float32
weights, gradients add up in float32, and after each step the model's copy is rounded anew. Unlike autocast, no weight is
cast twice in a step.
"""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from trifold.native import get_passes, multiplies_bfloat16, uses_passes

__all__ = ["Weights", "choose_device", "choose_dtype"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def choose_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device of that name; `auto` takes CUDA where there is one.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of that name; `auto` is bfloat16 where the device multiplies it in hardware, else float32.

    Example:
        >>> choose_dtype("float32", torch.device("cpu"))
        torch.float32
    """
    if name != "auto":
        return DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if multiplies_bfloat16() else torch.float32


class Weights:
    """The exact weights of a model and the lean ones it computes with.

    Args:
        model: taken over: its parameters become `dtype`.
        dtype: of the model's computation; for float32 and float64 both sides are the same tensors.

    Attributes:
        rank, size: which of how many shares of the exact weights this process holds.
        followed: names of the weights whose optimizer takes gradients as they are and writes the lean weights itself.

    Example:
        >>> weights = Weights(nn.Linear(2, 2), torch.bfloat16)
        >>> weights.exact["weight"].dtype, weights.model.weight.dtype
        (torch.float32, torch.bfloat16)
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.model, self.rank, self.size = model, 0, 1
        self.shared = dtype != torch.bfloat16
        if self.shared:
            model.to(dtype)
            self.exact: dict[str, Tensor] = dict(model.named_parameters())
        else:
            model.float()
            # copies, since weights that were just read are a view of their file
            self.exact = {name: value.detach().clone() for name, value in model.named_parameters()}
            model.to(dtype)
        self.lean: dict[str, Tensor] = dict(model.named_parameters())
        self.followed: frozenset[str] = frozenset()
        self.sums: dict[str, Tensor] = {}
        self.branches: list[dict[str, Tensor]] = []

    def copies(self) -> dict[Tensor, Tensor] | None:
        """The lean weight of each exact one, for an optimizer that writes them itself; None where none could."""
        lean = next(iter(self.lean.values()), None)
        if self.shared or lean is None or not uses_passes(lean):
            return None
        return {self.exact[name]: lean for name, lean in self.lean.items()}

    def follow(self, moved: Iterable[Tensor]) -> None:
        """Leave the copies of weights to the optimizer that moves them, and the gradient of a single pass as it is."""
        known = set(moved)
        self.followed = frozenset(name for name, exact in self.exact.items() if exact in known)
        for name in self.followed:
            self.exact[name].grad_dtype = None  # any

    def collect_gradients(self) -> None:
        """Add the gradients of the last pass to the sums of the step."""
        for name, lean in self.lean.items():
            if lean.grad is not None:
                if name in self.sums:
                    before = self.sums[name].to(self.exact[name].dtype)
                    self.sums[name] = before.add_(lean.grad)
                else:
                    self.sums[name] = lean.grad if self.shared or name in self.followed else lean.grad.float()
                lean.grad = None

    def close_pass(self, number: int) -> None:
        """Put the sums of a process's pass, the `number`-th of the step from 1, into the tree of sums.

        Passes 1 and 2 are added, then 3 and 4, then these two pairs, as bits carry in a counter. So a process that has
        half of the passes holds half of the tree, and any power of two of processes adds in the same order.
        """
        self.branches.append(self.sums)
        self.sums = {}
        while number % 2 == 0:
            self._join_branches()
            number //= 2

    def close_tree(self) -> None:
        """Make one sum of the tree."""
        while len(self.branches) > 1:
            self._join_branches()
        self.sums = self.branches.pop() if self.branches else {}

    def _join_branches(self) -> None:
        last = self.branches.pop()
        for name, value in last.items():
            before = self.branches[-1].get(name)
            self.branches[-1][name] = value if before is None else before.add_(value)

    def norm(self) -> Tensor:
        """Of all gradients that are placed, as one vector."""
        placed = [exact.grad for exact in self.exact.values() if exact.grad is not None]
        if not self.followed:
            return torch.nn.utils.get_total_norm(placed)
        lean = [grad for grad in placed if grad.dtype == torch.bfloat16]
        wide = torch.nn.utils.get_total_norm([grad for grad in placed if grad.dtype != torch.bfloat16])
        squares = [wide.double().square(), *(get_passes().square_sum(grad.contiguous()) for grad in lean)]
        return torch.stack(squares).sum().sqrt().float()

    def drop_gradients(self) -> None:
        """Forget the gradients of a pass that failed."""
        for lean in self.lean.values():
            lean.grad = None

    def place_gradients(self) -> None:
        """Make the sums of the step the gradients of the exact weights."""
        for name, exact in self.exact.items():
            exact.grad = self.sums.pop(name, None)

    def clear_gradients(self) -> None:
        """Forget the gradients of the last step."""
        for exact in self.exact.values():
            exact.grad = None

    @torch.no_grad()
    def refresh(self, *, after_step: bool = False) -> None:
        """Round the exact weights into the model's copy; after a step of the optimizers, those that these did not write."""
        if not self.shared:
            for name, lean in self.lean.items():
                if not (after_step and name in self.followed):
                    lean.copy_(self.exact[name])

    def part(self, whole: Tensor) -> Tensor:
        """What this process holds of a weight, or of a moment of its shape: here, all of it."""
        return whole

    def local(self, held: Tensor) -> Tensor:
        """What `part` gave, or has become since, as a plain tensor."""
        return held

    def exact_copy(self) -> nn.Module:
        """A copy of the model with its exact weights as they are now, in the machine's own memory."""
        with self.exact_model():
            fresh = {id(x): nn.Parameter(x.detach().to("cpu", copy=True), requires_grad=x.requires_grad)
                     for x in self.model.parameters()}  # fmt: skip
            return copy.deepcopy(self.model, fresh)

    @contextmanager
    def exact_model(self) -> Iterator[nn.Module]:
        """The model with its exact weights in place, for saving."""
        kept = {name: lean.data for name, lean in self.lean.items()}
        for name, lean in self.lean.items():
            lean.data = self.exact[name].data
        try:
            yield self.model
        finally:
            for name, lean in self.lean.items():
                lean.data = kept[name]
