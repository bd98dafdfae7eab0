"""What the processor multiplies by itself, and whose it is."""

import os
from pathlib import Path

import torch

__all__ = ["cores", "has_matrix_unit", "is_intel", "multiplies_bfloat16", "onednn_multiplies_bfloat16"]


def has_matrix_unit() -> bool:
    """Whether it has one for bfloat16 (AMX).

    Example:
        >>> has_matrix_unit() in (True, False)
        True
    """
    return torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - no public twin


def multiplies_bfloat16() -> bool:
    """Whether it multiplies bfloat16 at all, in vectors or in a unit of its own.

    Example:
        >>> multiplies_bfloat16() or not has_matrix_unit()
        True
    """
    return torch.cpu._is_avx512_bf16_supported() or has_matrix_unit()  # noqa: SLF001 - no public twin


def onednn_multiplies_bfloat16() -> bool:
    """Whether oneDNN, where torch has it, makes products of bfloat16 here; it wants AVX-512 for that.

    Example:
        >>> onednn_multiplies_bfloat16() or not has_matrix_unit()
        True
    """
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 - no public twin


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
