"""The passes over memory that a step in bfloat16 makes between its products, on a CPU.

Torch takes several passes where one would do, and its tanh and its casts are slow: on two cores with AMX, where products
are fast, half of a training step went there (docs/decisions/0015).
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Bool, Float32, Float64, Int64
from torch import Tensor

from trifold.native.compiler import load_library, trusted
from trifold.native.structures import FLOAT, INTEGER, POINTER, Adam, Moved, Shared, Turn, View

__all__ = ["HALF", "Passes", "get_passes", "load_passes", "uses_passes"]

HALF = Path(__file__).with_name("half.h")
SOURCES = (*map(Path(__file__).with_name, ("passes.c", "optimizer.c", "search.c")), HALF)
"""The first includes the others."""
PIECES = 32
"""Into how many parts rows are cut for sums over them: whatever the number of threads, so that it changes no bit."""
PIECE = 4096
"""Numbers that are summed together (as in `passes.c`)."""


class Passes:
    """The compiled passes. Tensors are contiguous, and on the CPU.

    Args:
        library: what the compiler made of `passes.c`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        kinds = {
            "gelu": [INTEGER, *[POINTER] * 4],
            "gate": [INTEGER, INTEGER, *[POINTER] * 3],
            "gate_gradient": [INTEGER, INTEGER, *[POINTER] * 5],
            "rotate": [POINTER] * 5,
            "dropout": [INTEGER, INTEGER, FLOAT, *[POINTER] * 3],
            "attention_weights": [POINTER, POINTER, INTEGER],
            "attention_gradient": [POINTER, POINTER, POINTER],
            "attend_shared": [POINTER, POINTER, POINTER],
            "cross_entropy": [INTEGER, INTEGER, POINTER, POINTER, FLOAT, INTEGER, POINTER],
            "find_best": [*[INTEGER] * 4, *[POINTER] * 4],
            "column_sums": [INTEGER, INTEGER, INTEGER, POINTER, POINTER],
            "squares": [INTEGER, POINTER, POINTER],
            "adamw": [INTEGER, POINTER, POINTER],
            "norm": [INTEGER, INTEGER, INTEGER, FLOAT, *[POINTER] * 5],
            "norm_gradient": [INTEGER, INTEGER, INTEGER, INTEGER, *[POINTER] * 6],
        }
        for name, arguments in kinds.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, None

    def gelu(
        self, x: BFloat16[Tensor, "*places"], grad: BFloat16[Tensor, "*places"] | None = None
    ) -> BFloat16[Tensor, "*places"]:
        """GELU with tanh; with the gradient of the result, that of `x`."""
        output = torch.empty_like(x)
        self._library.gelu(x.numel(), x.data_ptr(), None if grad is None else grad.data_ptr(), output.data_ptr(), None)
        return output

    def gelu_again(
        self, x: BFloat16[Tensor, "*places"], grad: BFloat16[Tensor, "*places"]
    ) -> BFloat16[Tensor, "*places"]:
        """GELU with tanh; the gradient of the result becomes that of `x`, in place."""
        output = torch.empty_like(x)
        self._library.gelu(x.numel(), x.data_ptr(), grad.data_ptr(), grad.data_ptr(), output.data_ptr())
        return output

    def gate(
        self, x: BFloat16[Tensor, "*places"], up: BFloat16[Tensor, "*places"], *, tanh: bool
    ) -> BFloat16[Tensor, "*places"]:
        """`activation(x) * up`: SiLU, or with `tanh` GELU with tanh."""
        output = torch.empty_like(x)
        self._library.gate(x.numel(), tanh, x.data_ptr(), up.data_ptr(), output.data_ptr())
        return output

    def gate_gradient(
        self,
        x: BFloat16[Tensor, "*places"],
        up: BFloat16[Tensor, "*places"],
        grad: BFloat16[Tensor, "*places"],
        *,
        tanh: bool,
    ) -> tuple[BFloat16[Tensor, "*places"], BFloat16[Tensor, "*places"]]:
        """The gradients of `x` and `up`."""
        to_x, to_up = torch.empty_like(x), torch.empty_like(up)
        self._library.gate_gradient(
            x.numel(), tanh, x.data_ptr(), up.data_ptr(), grad.data_ptr(), to_x.data_ptr(), to_up.data_ptr()
        )
        return to_x, to_up

    def rotate(
        self,
        x: BFloat16[Tensor, "rows heads seq size"],
        cos: Float32[Tensor, "angles 1 seq size"],
        sin: Float32[Tensor, "angles 1 seq size"],
        *,
        back: bool = False,
    ) -> BFloat16[Tensor, "rows heads seq size"]:
        """Queries or keys turned by their places, or with `back` turned back; numbers of a head lie side by side."""
        turned, (rows, heads, seq, size) = torch.empty_like(x), x.shape
        angle_row = 0 if len(cos) == 1 else seq * size
        steps = (x.stride(0), x.stride(2), x.stride(1), turned.stride(0), turned.stride(2), turned.stride(1), angle_row)
        rotation = Turn(rows, seq, heads, size, *steps, -1.0 if back else 1.0)
        self._library.rotate(ctypes.byref(rotation), x.data_ptr(), cos.data_ptr(), sin.data_ptr(), turned.data_ptr())
        return turned

    def dropout(
        self,
        x: BFloat16[Tensor, "*places"],
        more: BFloat16[Tensor, "*places"] | None,
        *,
        seed: int,
        chance: float,
    ) -> BFloat16[Tensor, "*places"]:
        """What is left of `x`, added to `more`; the same for the same seed."""
        output = torch.empty_like(x)
        self._library.dropout(
            x.numel(), seed, chance, x.data_ptr(), None if more is None else more.data_ptr(), output.data_ptr()
        )
        return output

    def attention_weights(self, view: View, scores: BFloat16[Tensor, "groups queries keys"], *, drop: bool) -> None:
        """Scores become weights, in place; with `drop` as they are after dropout."""
        self._library.attention_weights(ctypes.byref(view), scores.data_ptr(), drop)

    def attention_gradient(
        self,
        view: View,
        weights: BFloat16[Tensor, "groups queries keys"],
        grad: BFloat16[Tensor, "groups queries keys"],
    ) -> None:
        """The gradient of the weights becomes that of the scores, in place; weights become what dropout leaves of them."""
        self._library.attention_gradient(ctypes.byref(view), weights.data_ptr(), grad.data_ptr())

    def attend_shared(
        self, shared: Shared, queries: Float32[Tensor, "rows heads size"]
    ) -> Float32[Tensor, "rows heads size"]:
        """One query of each row over keys and values that rows share."""
        mixed = torch.empty_like(queries)
        self._library.attend_shared(ctypes.byref(shared), queries.data_ptr(), mixed.data_ptr())
        return mixed

    def cross_entropy(
        self,
        logits: BFloat16[Tensor, "rows words"],
        labels: Int64[Tensor, " rows"],
        *,
        smoothing: float = 0.0,
        differentiate: bool = False,
    ) -> Float32[Tensor, " rows"]:
        """Of each row, in nats; with `differentiate` the logits become their gradient, in place."""
        losses = torch.empty(len(logits), dtype=torch.float32)
        self._library.cross_entropy(
            *logits.shape, logits.data_ptr(), labels.data_ptr(), smoothing, differentiate, losses.data_ptr()
        )
        return losses

    def find_best(
        self, x: Float32[Tensor, "rows words"], count: int
    ) -> tuple[Float32[Tensor, " rows"], Float32[Tensor, "rows count"], Int64[Tensor, "rows count"]]:
        """Of each row log(sum(e^x)), its largest numbers, and where they are; neighbours in a row lie side by side."""
        total, value = torch.empty(len(x), dtype=torch.float32), torch.empty(len(x), count, dtype=torch.float32)
        place = torch.empty(len(x), count, dtype=torch.int64)
        self._library.find_best(
            *x.shape, x.stride(0), count, x.data_ptr(), total.data_ptr(), value.data_ptr(), place.data_ptr()
        )
        return total, value, place

    def column_sums(self, x: BFloat16[Tensor, "rows columns"]) -> Float32[Tensor, " columns"]:
        """The sum of each column."""
        sums = torch.empty(min(len(x), PIECES), x.shape[1], dtype=torch.float32)
        self._library.column_sums(*x.shape, len(sums), x.data_ptr(), sums.data_ptr())
        return sums.sum(0)

    def square_sum(self, x: BFloat16[Tensor, "*places"]) -> Float64[Tensor, ""]:
        """The sum of the squares."""
        sums = torch.empty(-(-x.numel() // PIECE), dtype=torch.float32)
        self._library.squares(x.numel(), x.data_ptr(), sums.data_ptr())
        return sums.double().sum()

    def adamw(self, moved: Sequence[Moved], adam: Adam) -> None:
        """Move weights, their moments and their copies, in place."""
        self._library.adamw(len(moved), (Moved * len(moved))(*moved), ctypes.byref(adam))

    def norm(
        self,
        x: BFloat16[Tensor, "*places width"],
        weight: BFloat16[Tensor, " width"],
        bias: BFloat16[Tensor, " width"] | None,
        *,
        eps: float,
        centered: bool,
    ) -> tuple[BFloat16[Tensor, "*places width"], Float32[Tensor, "rows 2"]]:
        """Layer norm, or without `centered` RMS norm; and of each row its mean and the inverse of its deviation."""
        output, rows = torch.empty_like(x), x.numel() // len(weight)
        moments = torch.empty(rows, 2, dtype=torch.float32)
        self._library.norm(
            rows,
            len(weight),
            centered,
            eps,
            x.data_ptr(),
            weight.data_ptr(),
            None if bias is None else bias.data_ptr(),
            output.data_ptr(),
            moments.data_ptr(),
        )
        return output, moments

    def norm_gradient(
        self,
        x: BFloat16[Tensor, "*places width"],
        weight: BFloat16[Tensor, " width"],
        moments: Float32[Tensor, "rows 2"],
        grad: BFloat16[Tensor, "*places width"],
        *,
        centered: bool,
    ) -> tuple[BFloat16[Tensor, "*places width"], Float32[Tensor, "pieces 2 width"]]:
        """The gradient of `x`, and in pieces that of weight and bias; the pieces do not depend on the number of threads."""
        to_x, sums = torch.empty_like(x), torch.empty(min(len(moments), PIECES), 2, len(weight), dtype=torch.float32)
        self._library.norm_gradient(
            len(moments),
            len(weight),
            centered,
            len(sums),
            x.data_ptr(),
            weight.data_ptr(),
            moments.data_ptr(),
            grad.data_ptr(),
            to_x.data_ptr(),
            sums.data_ptr(),
        )
        return to_x, sums


def get_passes() -> Passes:
    """The passes, for whoever knows that there are some (see `uses_passes`)."""
    passes = load_passes()
    assert passes is not None, "the passes could not be compiled"
    return passes


def uses_passes(x: Tensor) -> bool:
    """Whether there are passes for numbers like these.

    Example:
        >>> uses_passes(torch.zeros(2))  # float32
        False
    """
    plain = x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.numel() > 0
    return plain and not torch.compiler.is_compiling() and load_passes() is not None


def draw_seed() -> int:
    """What dropout leaves out follows from it; drawn from torch's global generator.

    Example:
        >>> 0 <= draw_seed() < 2**31
        True
    """
    return int(torch.randint(2**31, ()))


@cache
def load_passes() -> Passes | None:
    """The passes; None where they cannot be compiled, or do not give the right numbers.

    Example:
        >>> passes, x = load_passes(), torch.tensor([-1.0, 0.0, 1.0]).bfloat16()
        >>> passes is None or passes.gelu(x).tolist() == [-0.1591796875, 0.0, 0.83984375]
        True
    """
    library = load_library(*SOURCES)
    passes = None if library is None else Passes(library)
    return trusted(passes, _is_right, SOURCES[0].name)


def _is_right(passes: Passes) -> bool:
    """Whether they give what torch gives, ragged ends included."""
    draw = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(6, 5, 83, generator=draw).bfloat16() for _ in range(2))
    wide = x.float().requires_grad_()
    bent = F.gelu(wide, approximate="tanh")
    weighted = (
        grad.float()
    )  # as a sum: given beside what is differentiated, torch would load sympy, a third of a second
    seen: Bool[Tensor, "queries keys"] = torch.rand(5, 83, generator=draw) > 0.3
    view = View(6, 1, 5, 83, 0, seen.data_ptr(), 0, 83, scale=0.5)
    weights, step = x.clone(), grad.clone()
    passes.attention_weights(view, weights, drop=True)
    passes.attention_gradient(view, weights, step)
    mixed = (wide * 0.5).masked_fill(~seen, float("-inf")).softmax(-1)
    logits, labels = x.flatten(0, 1).clone(), torch.arange(30)
    losses = passes.cross_entropy(logits, labels, differentiate=True)
    missed = F.cross_entropy(wide.flatten(0, 1), labels, reduction="none")
    pairs = (
        (passes.gelu(x), bent),
        (passes.gelu(x, grad), torch.autograd.grad((bent * weighted).sum(), wide)[0]),
        (weights, mixed),
        (step, torch.autograd.grad((mixed * weighted).sum(), wide)[0]),
        (losses, missed),
        (logits.view_as(x), torch.autograd.grad(missed.sum(), wide)[0]),
    )
    return all(torch.allclose(made.float(), wanted, rtol=0.02, atol=0.004) for made, wanted in pairs)
