"""Products in C for decoding.

Torch's products reach a third to a half of the rate at which memory can be read when there are few rows; `kernel.c` reaches
nearly all of it. Where it cannot be compiled (see `native.compiler`), torch's are used.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch
from jaxtyping import BFloat16, Float, Float32, Int8
from torch import Tensor

from trifold.native import HALF, is_intel, load_library, multiplies_int8, trusted

__all__ = ["MOST_INPUTS", "Kernel", "load_kernel"]

SOURCES = (*map(Path(__file__).with_name, ("block.c", "kernel.c")), HALF)  # the first includes the others
READING = ("-DAHEAD=4096", "-DKEEP=2")
"""How Intel's processors are asked for weights: what is not to be kept passes through their smallest buffers, at 11 GB/s
instead of 25."""
MOST_INPUTS = 16_384
"""Above, sums of whole numbers could run over."""


class Kernel:
    """The compiled products.

    Args:
        library: what the compiler made of `kernel.c`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._float, self._half, self._byte = library.linear_float32, library.linear_bfloat16, library.linear_int8
        for function, pointers in ((self._float, 4), (self._half, 5), (self._byte, 6)):
            function.argtypes, function.restype = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * pointers, None
        self._round, self._scale = library.round_rows, library.scale_sums
        for function, pointers in ((self._round, 3), (self._scale, 5)):
            function.argtypes, function.restype = [ctypes.c_int64] * 2 + [ctypes.c_void_p] * pointers, None
        self._block, self._room = library.decode_block, library.work_size
        self._room.argtypes, self._room.restype = [ctypes.c_void_p, ctypes.c_int64], ctypes.c_int64
        self._block.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 2 + [ctypes.c_void_p] * 3
        self._block.restype = None

    def linear(
        self,
        x: Float[Tensor, "rows inputs"],
        weight: Float[Tensor, "outputs inputs"],
        bias: Float[Tensor, " outputs"] | None,
    ) -> Float[Tensor, "rows outputs"]:
        """`x weight^T + bias`, summed in float32; all in float32 or all in bfloat16, contiguous, on the CPU."""
        (rows, inputs), outputs = x.shape, len(weight)
        product, pointers = x.new_empty(rows, outputs), (x.data_ptr(), weight.data_ptr(), _address(bias))
        if x.dtype == torch.float32:
            self._float(rows, inputs, outputs, *pointers, product.data_ptr())
        else:
            room = torch.empty(rows * inputs, dtype=torch.float32)
            self._half(rows, inputs, outputs, *pointers, room.data_ptr(), product.data_ptr())
        return product

    def linear_int8(
        self,
        x: BFloat16[Tensor, "rows inputs"],
        weight: tuple[Int8[Tensor, "outputs inputs"], Float32[Tensor, " outputs"]],
        bias: BFloat16[Tensor, " outputs"] | None,
    ) -> BFloat16[Tensor, "rows outputs"]:
        """`x (weight * scale)^T + bias`; at most `MOST_INPUTS` inputs, all contiguous, on the CPU."""
        whole, scale = weight
        (rows, inputs), outputs = x.shape, len(whole)
        room, product = torch.empty((rows + 1) * (inputs + 1), dtype=torch.float32), x.new_empty(rows, outputs)
        self._byte(
            rows,
            inputs,
            outputs,
            x.data_ptr(),
            whole.data_ptr(),
            scale.data_ptr(),
            _address(bias),
            room.data_ptr(),
            product.data_ptr(),
        )
        return product

    def product_int8(
        self,
        x: BFloat16[Tensor, "rows inputs"],
        weight: tuple[Int8[Tensor, "outputs inputs"], Float32[Tensor, " outputs"]],
        bias: BFloat16[Tensor, " outputs"] | None,
    ) -> BFloat16[Tensor, "rows outputs"]:
        """`x (weight * scale)^T + bias` for many rows, each rounded to whole numbers times a scale of its own.

        For processors on which torch's products of whole numbers are exact (`multiplies_int8`).
        """
        (whole, scale), (rows, inputs) = weight, x.shape
        rounded, steps = torch.empty(rows, inputs, dtype=torch.int8), torch.empty(rows)
        self._round(rows, inputs, x.data_ptr(), rounded.data_ptr(), steps.data_ptr())
        sums = torch.ops.aten._int_mm(rounded, whole.t())  # noqa: SLF001 - no public twin
        made = torch.empty_like(sums, dtype=x.dtype)
        self._scale(*sums.shape, sums.data_ptr(), steps.data_ptr(), scale.data_ptr(), _address(bias), made.data_ptr())
        return made

    def block(
        self,
        structure: ctypes.Structure,
        x: Float[Tensor, "1 1 d_model"],
        kept: tuple[Float32[Tensor, "1 heads room head_size"], Float32[Tensor, "1 heads room head_size"]],
        length: int,
        rotation: tuple[Tensor, Tensor] | None,
    ) -> Float[Tensor, "1 1 d_model"]:
        """One token through one block of a decoder (see `structure`), in the number format of its norms and biases.

        Args:
            structure: the block.
            x: contiguous.
            kept: rooms for keys and values, contiguous, with a place left; the token's own are written there.
            length: places already full.
            rotation: cosines and sines of the token's position, contiguous float32; None for a block that rotates nothing.
        """
        output = torch.empty_like(x)
        work = torch.empty(self._room(ctypes.byref(structure), length), dtype=torch.float32)
        turns = (None, None) if rotation is None else (rotation[0].data_ptr(), rotation[1].data_ptr())
        self._block(
            ctypes.byref(structure),
            x.data_ptr(),
            output.data_ptr(),
            kept[0].data_ptr(),
            kept[1].data_ptr(),
            kept[0].shape[2],
            length,
            *turns,
            work.data_ptr(),
        )
        return output


def _address(bias: Tensor | None) -> int | None:
    return None if bias is None else bias.data_ptr()


@cache
def load_kernel() -> Kernel | None:
    """The kernel, compiled now or before; None where that cannot be done or does not give the right numbers.

    Example:
        >>> kernel, x = load_kernel(), torch.ones(1, 64, dtype=torch.bfloat16)
        >>> kernel is None or kernel.linear(x, x.repeat(2, 1), None).tolist() == [[64.0, 64.0]]
        True
    """
    library = load_library(*SOURCES, flags=READING if is_intel() else ())
    kernel = None if library is None else Kernel(library)
    return trusted(kernel, _is_right, SOURCES[0].name)


def _is_right(kernel: Kernel) -> bool:
    """Whether it gives what torch gives, ragged ends included."""
    draw = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, 203, generator=draw).bfloat16() for rows in (3, 5))
    whole, scale = (
        torch.randint(-127, 128, (5, 203), generator=draw).to(torch.int8),
        torch.rand(5, generator=draw, dtype=torch.float32),
    )
    exact = torch.allclose(kernel.linear(x.float(), weight.float(), None), x.float() @ weight.float().t(), atol=1e-4)
    pairs = (
        (kernel.linear(x, weight, weight[:, 0].contiguous()), x.float() @ weight.float().t() + weight[:, 0].float()),
        (kernel.linear_int8(x, (whole, scale), None), x.float() @ (whole * scale[:, None]).t()),
    )
    rounded = kernel.product_int8(x, (whole, scale), None).float()
    near = torch.allclose(rounded, pairs[1][1], rtol=0.05, atol=20.0) or not multiplies_int8()
    return exact and near and all(torch.allclose(made.float(), wanted, rtol=0.01, atol=0.05) for made, wanted in pairs)
