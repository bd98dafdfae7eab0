"""Training in bfloat16 with float32 truth: the model computes with a rounded copy of weights that stay exact.

A bfloat16 weight near 1 moves in steps of 1/128, so small updates would vanish. The optimizer therefore moves float32
weights, gradients add up in float32, and after each step the copy is rounded anew. Unlike autocast, no weight is cast twice
in a step. Whoever has the model in hand between two steps has it with its exact weights.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from trifold.config import require
from trifold.errors import ConfigError
from trifold.native import get_passes, multiplies_bfloat16, uses_passes

__all__ = ["Weights", "choose_device", "choose_dtype", "find_device"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def choose_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device of that name; `auto` takes CUDA where there is one.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')

    Raises:
        ConfigError: there is none of that name here.
    """
    return find_device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def find_device(name: torch.device | str) -> torch.device:
    """The device that is meant.

    Raises:
        ConfigError: there is none of that name here.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    allowed = "cpu, or cuda where torch finds a GPU"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ConfigError("config.out_of_range", where="device", given=name, allowed=allowed) from None
    require(device.type != "cuda" or torch.cuda.is_available(), where="device", given=name, allowed=allowed)
    return device


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
        model: whose weights they are; its floating-point buffers become `dtype`.
        dtype: of the model's computation; for float32 and float64 both sides are the same tensors.

    Attributes:
        exact: what the optimizers move, by name.
        lean: the model's parameters, by name; their numbers are the exact ones, but those of the copy in `computing`.
        rank, size: which of how many shares of the exact weights this process holds.
        followed: names of the weights whose optimizer takes gradients as they are and writes the lean weights itself.

    Example:
        >>> weights = Weights(nn.Linear(2, 2), torch.bfloat16)
        >>> weights.model.weight.dtype
        torch.float32
        >>> with weights.computing():
        ...     weights.model.weight.dtype
        torch.bfloat16
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
            for buffer in model.buffers():
                buffer.data = buffer.to(dtype) if buffer.is_floating_point() else buffer.data
        self.lean: dict[str, Tensor] = dict(model.named_parameters())
        self.followed: frozenset[str] = frozenset()
        self._rounded = {} if self.shared else {name: exact.to(dtype) for name, exact in self.exact.items()}
        self._computes = False
        self._lay(self.exact)

    def copies(self) -> dict[Tensor, Tensor] | None:
        """The lean weight of each exact one, for an optimizer that writes them itself; None where none could."""
        lean = next(iter(self._rounded.values()), None)
        if lean is None or not uses_passes(lean):
            return None
        return {self.exact[name]: lean for name, lean in self._rounded.items()}

    def follow(self, moved: Iterable[Tensor]) -> None:
        """Leave the copies of weights to the optimizer that moves them, and the gradient of a single pass as it is."""
        known = set(moved)
        self.followed = frozenset(name for name, exact in self.exact.items() if exact in known)
        for name in self.followed:
            self.exact[name].grad_dtype = None  # any

    def norm(self) -> Tensor:
        """Of all gradients that are placed, as one vector."""
        placed = [exact.grad for exact in self.exact.values() if exact.grad is not None]
        if not self.followed:
            return torch.nn.utils.get_total_norm(placed)
        lean = [grad for grad in placed if grad.dtype == torch.bfloat16]
        wide = torch.nn.utils.get_total_norm([grad for grad in placed if grad.dtype != torch.bfloat16])
        squares = [wide.double().square(), *(get_passes().square_sum(grad.contiguous()) for grad in lean)]
        return torch.stack(squares).sum().sqrt().float()

    def clip(self, limit: float | None) -> tuple[float, float]:
        """Scale the gradients down where their norm is above the limit.

        Returns:
            The norm before, and the factor, which the gradients of `followed` weights still have to be multiplied by.
        """
        norm = self.norm()
        norm_value = norm.item()
        if limit is None or not norm_value > limit:
            return norm_value, 1.0
        others = [exact for name, exact in self.exact.items() if name not in self.followed]
        torch.nn.utils.clip_grads_with_norm_(others, limit, norm)
        return norm_value, limit / (norm_value + 1e-6)

    def drop_gradients(self) -> None:
        """Forget the gradients of a pass that failed."""
        for lean in self.lean.values():
            lean.grad = None

    def scale_gradients(self, factor: float) -> None:
        """Multiply the gradients that are placed."""
        if factor != 1.0:
            for exact in self.exact.values():
                if exact.grad is not None:
                    exact.grad.mul_(factor)

    def clear_gradients(self) -> None:
        """Forget the gradients of the last step."""
        for exact in self.exact.values():
            exact.grad = None

    @torch.no_grad()
    def refresh(self, *, after_step: bool = False) -> None:
        """Round the exact weights into the copy; after a step of the optimizers, those that these did not write."""
        for name, lean in self._rounded.items():
            if not (after_step and name in self.followed):
                lean.copy_(self.exact[name])

    @contextmanager
    def computing(self) -> Iterator[None]:
        """The model with its lean weights in place, as it computes in training; what was changed since is rounded first."""
        if self.shared or self._computes:
            yield
            return
        with torch.no_grad():
            for name, lean in self._rounded.items():
                if self.lean[name]._version != self._versions[name]:  # noqa: SLF001 - no public name says as much
                    lean.copy_(self.exact[name])
        self._lay(self._rounded)
        self._computes = True
        try:
            yield
        finally:
            self._computes = False
            self._lay(self.exact)

    def _lay(self, numbers: Mapping[str, Tensor]) -> None:
        """Put numbers in the place of the model's parameters."""
        if not self.shared:
            for name, lean in self.lean.items():
                lean.data = numbers[name].data
            self._versions = {name: lean._version for name, lean in self.lean.items()}  # noqa: SLF001

    def part(self, whole: Tensor) -> Tensor:
        """What this process holds of a weight, or of a moment of its shape: here, all of it."""
        return whole

    def local(self, held: Tensor) -> Tensor:
        """What `part` gave, or has become since, as a plain tensor."""
        return held

    def whole_model(self) -> nn.Module:
        """The model with all of its weights in this process: with the exact ones, but in `computing`."""
        return self.model

    def exact_copy(self) -> nn.Module:
        """A copy of the model with its exact weights as they are now, in the machine's own memory."""
        with self.exact_model():
            fresh = {
                id(x): nn.Parameter(x.detach().to("cpu", copy=True), requires_grad=x.requires_grad)
                for x in self.model.parameters()
            }
            return copy.deepcopy(self.model, fresh)

    @contextmanager
    def exact_model(self) -> Iterator[nn.Module]:
        """The model with its exact weights in place, for saving."""
        if not self._computes:
            yield self.model
            return
        self._lay(self.exact)
        try:
            yield self.model
        finally:
            self._lay(self._rounded)
