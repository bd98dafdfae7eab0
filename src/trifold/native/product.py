"""Products by the processor's matrix unit, with what comes before and after them in the same pass over memory.

A product in bfloat16 takes so little time there that laying out, GELU, biases and sums beside it cost as much; oneDNN does
not put them together, and is slow where the rows of both sides are added up, as for the gradients of weights
(docs/decisions/0016).

Axes: N rows, I inputs, O outputs.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Bool, Float32, Int32
from torch import Tensor

from trifold.native.compiler import load_library, trusted
from trifold.native.processor import has_matrix_unit

__all__ = ["Activation", "Products", "get_products", "load_products"]

SOURCES = tuple(map(Path(__file__).with_name, ("product.c", "heads.c", "blocks.h", "activations.h")))
"""The first includes the others."""
Activation = Literal["identity", "gelu_tanh", "relu", "gelu", "silu"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
"""In the order of `activations.h`."""

INTEGER, POINTER = ctypes.c_int64, ctypes.c_void_p


class Work(ctypes.Structure):
    """What is multiplied (`struct work` in `product.c`)."""

    _fields_ = (
        ("rows", INTEGER),
        ("columns", INTEGER),
        ("depth", INTEGER),
        ("left_turned", INTEGER),
        ("right_turned", INTEGER),
        ("made_turned", INTEGER),
        ("left", POINTER),
        ("right", POINTER),
        ("made", POINTER),
        ("total", POINTER),
        ("bias", POINTER),
        ("more", POINTER),
        ("slope", POINTER),
        ("left_bend", INTEGER),
        ("right_bend", INTEGER),
        ("slope_bend", INTEGER),
        ("left_sums", POINTER),
        ("right_sums", POINTER),
    )


class Products:
    """The compiled products. Tensors are contiguous, and on the CPU.

    Args:
        library: what the compiler made of `product.c`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.product_room.argtypes, library.product_room.restype = [POINTER], INTEGER
        library.product.argtypes, library.product.restype = [POINTER, POINTER], None
        library.pack_mask.argtypes, library.pack_mask.restype = (
            [INTEGER] * 3 + [POINTER] + [INTEGER] * 2 + [POINTER],
            None,
        )
        library.heads_room.argtypes, library.heads_room.restype = [POINTER, INTEGER], INTEGER
        library.mix_heads.argtypes, library.mix_heads.restype = [POINTER, INTEGER, POINTER], None

    def forward(
        self,
        x: BFloat16[Tensor, "rows inputs"],
        weight: BFloat16[Tensor, "outputs inputs"],
        bias: BFloat16[Tensor, " outputs"] | None = None,
        more: BFloat16[Tensor, "rows outputs"] | None = None,
        *,
        activation: Activation = "identity",
        out: BFloat16[Tensor, "rows outputs"] | None = None,
    ) -> BFloat16[Tensor, "rows outputs"]:
        """`activation(x) weight^T + bias + more`."""
        product = x.new_empty(len(x), len(weight)) if out is None else out
        self._run(
            rows=len(x),
            columns=len(weight),
            depth=x.shape[1],
            right_turned=1,
            left=x,
            right=weight,
            made=product,
            bias=bias,
            more=more,
            left_bend=ACTIVATIONS.index(activation),
        )
        return product

    def backward(
        self,
        grad: BFloat16[Tensor, "rows outputs"],
        weight: BFloat16[Tensor, "outputs inputs"],
        x: BFloat16[Tensor, "rows inputs"] | None = None,
        more: BFloat16[Tensor, "rows inputs"] | None = None,
        *,
        activation: Activation = "identity",
        out: BFloat16[Tensor, "rows inputs"] | None = None,
    ) -> BFloat16[Tensor, "rows inputs"]:
        """The gradient of x, which is asked for where it was bent, plus `more`, which may be `out`."""
        to_x = grad.new_empty(len(grad), weight.shape[1]) if out is None else out
        slope = None if activation == "identity" else x
        self._run(
            rows=len(grad),
            columns=weight.shape[1],
            depth=len(weight),
            left=grad,
            right=weight,
            made=to_x,
            more=more,
            slope=slope,
            slope_bend=ACTIVATIONS.index(activation),
        )
        return to_x

    def weight_gradient(
        self,
        grad: BFloat16[Tensor, "rows outputs"],
        x: BFloat16[Tensor, "rows inputs"],
        *,
        activation: Activation = "identity",
        sums: Float32[Tensor, " outputs"] | None = None,
        total: Float32[Tensor, "outputs inputs"] | None = None,
    ) -> BFloat16[Tensor, "outputs inputs"] | None:
        """The gradient of the weight, `grad^T x`.

        Args:
            grad: of the result.
            x: what was multiplied.
            activation: what was done to x before.
            sums: to which the sums of the columns of `grad` are added, the gradient of the bias.
            total: to which the gradient is added, not rounded; None is returned.
        """
        to_weight = None if total is not None else grad.new_empty(grad.shape[1], x.shape[1])
        turned = grad.shape[1] > x.shape[1]  # the wider side is read row by row, and each thread has its own part of it
        left, right = (x, grad) if turned else (grad, x)
        beside = (
            {"right_sums": sums, "left_bend": ACTIVATIONS.index(activation)}
            if turned
            else {"left_sums": sums, "right_bend": ACTIVATIONS.index(activation)}
        )
        self._run(
            rows=left.shape[1],
            columns=right.shape[1],
            depth=len(x),
            left_turned=1,
            made_turned=turned,
            left=left,
            right=right,
            made=to_weight,
            total=total,
            **beside,
        )
        return to_weight

    def pack_mask(self, mask: Bool[Tensor, "rows 1 query key"]) -> Int32[Tensor, "rows key blocks"]:
        """Of each key, a bit for each query that sees it."""
        rows, _, queries, keys = mask.shape
        packed = torch.empty(rows, keys, -(-queries // 32), dtype=torch.int32)
        self._library.pack_mask(rows, queries, keys, mask.data_ptr(), mask.stride(0), mask.stride(2), packed.data_ptr())
        return packed

    def mix(self, heads: ctypes.Structure, *, back: bool) -> None:
        """Attention of some heads, or its gradients (see `heads`)."""
        room = torch.empty(self._library.heads_room(ctypes.byref(heads), back), dtype=torch.float32)
        self._library.mix_heads(ctypes.byref(heads), back, room.data_ptr())

    def _run(self, **parts: Tensor | int | None) -> None:
        """One product; of `struct work`, what is not 0 or missing."""
        work = Work(**{name: part.data_ptr() if isinstance(part, Tensor) else part for name, part in parts.items()})
        room = torch.empty(self._library.product_room(ctypes.byref(work)), dtype=torch.float32)
        self._library.product(ctypes.byref(work), room.data_ptr())


def get_products() -> Products:
    """The products, for whoever knows that there are some."""
    products = load_products()
    assert products is not None, "there are no products here"
    return products


@cache
def load_products() -> Products | None:
    """The products; None where there is no such unit, they cannot be compiled, or do not give the right numbers.

    Example:
        >>> products, one = load_products(), torch.eye(2).bfloat16()
        >>> products is None or products.forward(one, one).tolist() == [[1.0, 0.0], [0.0, 1.0]]
        True
    """
    library = load_library(*SOURCES) if has_matrix_unit() else None
    products = Products(library) if library is not None and library.can_multiply() else None
    return trusted(products, _is_right, SOURCES[0].name)


def _is_right(products: Products) -> bool:
    """Whether they give what torch gives in float32, for shapes with ragged ends."""
    draw = torch.Generator().manual_seed(0)
    x, weight, grad, bias = (
        torch.randn(shape, generator=draw).bfloat16() for shape in ((70, 83), (45, 83), (70, 45), (45,))
    )
    wide, exact = x.float().requires_grad_(), weight.float().requires_grad_()
    functions: dict[Activation, Callable[[Tensor], Tensor]] = {
        "identity": lambda x: x,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "relu": F.relu,
        "gelu": F.gelu,
        "silu": F.silu,
    }
    pairs: list[tuple[Tensor | None, Tensor]] = []
    for activation, function in functions.items():
        output = F.linear(function(wide), exact, bias.float()) + grad.float()
        to_x, to_weight = torch.autograd.grad((output * grad.float()).sum(), (wide, exact))
        sums, total = torch.zeros(45, dtype=torch.float32), torch.zeros(45, 83, dtype=torch.float32)
        products.weight_gradient(grad, x, activation=activation, total=total)
        pairs += [
            (products.forward(x, weight, bias, grad, activation=activation), output),
            (products.backward(grad, weight, x, x, activation=activation), to_x + wide),
            (products.weight_gradient(grad, x, activation=activation, sums=sums), to_weight),
            (products.weight_gradient(x, grad), wide.T @ grad.float()),
            (total, to_weight),
            (sums, grad.float().sum(0)),
        ]
    return all(
        torch.allclose(actual.float(), expected, rtol=0.02, atol=0.2)
        for actual, expected in pairs
        if actual is not None
    )
