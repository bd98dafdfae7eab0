"""What the processor multiplies by itself, and whose it is.

`TRIFOLD_ISA` keeps our own kernels to an older x86 instruction set, so that one machine shows what others compute.
"""

import os
from functools import cache
from pathlib import Path

import torch

from trifold.errors import ConfigError

__all__ = [
    "compiler_flags",
    "cores",
    "has_matrix_unit",
    "is_intel",
    "multiplies_bfloat16",
    "multiplies_int8",
    "onednn_multiplies_bfloat16",
]

INSTRUCTION_SETS = {
    "default": ("-march=x86-64",),
    "avx2": ("-march=x86-64-v3",),
    "avx512": ("-march=x86-64-v4",),
    "avx512_bf16": ("-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16"),
}
"""The compiler's flags for each, the oldest first; named as in torch's `ATEN_CPU_CAPABILITY`, which lacks the last."""


def _instruction_set() -> str | None:
    """The instruction set that the kernels are to keep to; None for all that the processor has."""
    name = os.environ.get("TRIFOLD_ISA") or None
    if name is not None and name not in INSTRUCTION_SETS:
        raise ConfigError("native.instruction_set", given=name, allowed=", ".join(INSTRUCTION_SETS))
    return name


def compiler_flags() -> tuple[str, ...]:
    """For which processor the compiler is to make our kernels: this one, unless `TRIFOLD_ISA` names an older set.

    Example:
        >>> all(flag.startswith("-m") for flag in compiler_flags())
        True
    """
    wanted = _instruction_set()
    return ("-march=native",) if wanted is None else INSTRUCTION_SETS[wanted]


def has_matrix_unit() -> bool:
    """Whether it has one for bfloat16 (AMX).

    Example:
        >>> has_matrix_unit() in (True, False)
        True
    """
    return _instruction_set() is None and torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - no public twin


def multiplies_bfloat16() -> bool:
    """Whether it multiplies bfloat16 at all, in vectors or in a unit of its own.

    Example:
        >>> multiplies_bfloat16() or not has_matrix_unit()
        True
    """
    if _instruction_set() in (None, "avx512_bf16"):
        return torch.cpu._is_avx512_bf16_supported() or has_matrix_unit()  # noqa: SLF001 - no public twin
    return False


def onednn_multiplies_bfloat16() -> bool:
    """Whether oneDNN, where torch has it, makes products of bfloat16 here; it wants AVX-512 for that.

    Example:
        >>> onednn_multiplies_bfloat16() or not has_matrix_unit()
        True
    """
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 - no public twin


@cache
def multiplies_int8() -> bool:
    """Whether torch's products of int8 matrices are exact here: without VNNI oneDNN adds pairs in 16 bits, which run over.

    Example:
        >>> multiplies_int8() in (True, False)
        True
    """
    largest = torch.full((4, 64), 127, dtype=torch.int8)
    return bool((torch.ops.aten._int_mm(largest, largest.t()) == 64 * 127 * 127).all())  # noqa: SLF001 - no public twin


def cores() -> int:
    """How many cores this process may use.

    Example:
        >>> cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_intel() -> bool:
    """Whether Intel made it, as far as Linux says.

    Example:
        >>> is_intel() in (True, False)
        True
    """
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
