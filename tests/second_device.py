"""A second device where there is none: its tensors lie in the machine's own memory, but nothing else may touch them.

It stands in for a GPU. What mixes its tensors with those of the CPU, reads their memory by address or takes them for numpy
fails here as it would there; the numbers are those of the CPU.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

__all__ = ["NAME", "open_second_device"]

NAME = "second"
BETWEEN = ("copy_", "_to_copy", "index", "index_put_", "_index_put_impl_", "_unsafe_index")
"""Operations that take tensors of both devices: copies, and indices from the CPU."""


class SecondTensor(Tensor):
    """A tensor of the second device; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "SecondTensor":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        with torch.inference_mode(mode=False):  # such a tensor may be a view of one from outside
            made = Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device=f"{NAME}:0", **layout)
        made.held = held
        return made

    @property
    def data(self) -> Tensor:
        """The tensor without its history."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        assert isinstance(value, SecondTensor), "a weight moved to another device"
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.held = value.held

    def tolist(self) -> Any:
        """Its numbers, which torch refuses to give of subclasses."""
        return self.held.tolist()

    def __repr__(self) -> str:
        return f"SecondTensor({self.held!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            made = self.detach().clone().requires_grad_(self.requires_grad)
            memo[id(self)] = torch.nn.Parameter(made, self.requires_grad) if hasattr(self, "_is_param") else made
        return memo[id(self)]

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func` on the numbers, where all tensors with more than one are of the second device."""
        kwargs = dict(kwargs or {})
        there: dict[int, SecondTensor] = {}
        strangers: list[Tensor] = []

        def take(x: Any) -> Any:
            if isinstance(x, SecondTensor):
                there[id(x.held)] = x
                return x.held
            if isinstance(x, Tensor) and x.ndim:
                strangers.append(x)
            return x

        def give(x: Any) -> Any:
            if isinstance(x, Tensor):
                return there[id(x)] if id(x) in there else x if leaves else SecondTensor(x)
            return x

        device = kwargs.get("device")
        leaves = device is not None and torch.device(device).type == "cpu"
        if device is not None:
            kwargs["device"] = torch.device("cpu")
        held, named = tree_map(take, args), tree_map(take, kwargs)
        name = func.overloadpacket.__name__
        if strangers and name not in BETWEEN:
            raise RuntimeError(f"{func}: tensors of two devices, {[tuple(x.shape) for x in strangers]} on the CPU")
        made = func(*held, **named)
        if name == "copy_" and not isinstance(args[0], SecondTensor):
            return args[0]
        return tree_map(give, made)


def _empty(size: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return SecondTensor(torch.empty(size, dtype=dtype, device="cpu"))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return SecondTensor(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _copy_from(source: Tensor, into: Tensor, non_blocking: bool = False) -> Tensor:
    """What `torch.tensor` calls, which asks no Python for it."""
    del non_blocking
    numbers, room = (x.held if isinstance(x, SecondTensor) else x for x in (source, into))
    room.copy_(numbers)
    return into


@cache
def open_second_device() -> torch.device:
    """The device, made known to torch in this process."""
    _setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    _KEPT.append(library)
    torch.__future__.set_swap_module_params_on_conversion(True)  # a weight that moves stays the same object, as on CUDA
    return torch.device(f"{NAME}:0")


_KEPT: list[torch.library.Library] = []
