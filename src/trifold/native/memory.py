"""Freed tensors' memory kept for the next tensors, by an allocator of our own (see `memory.cpp`)."""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from trifold.native.compiler import load_library

__all__ = ["Held", "keep_memory", "report_memory"]

SOURCE = Path(__file__).with_name("memory.cpp")


class Held(NamedTuple):
    """Bytes of tensors of 64 KiB and more.

    Attributes:
        used: by tensors.
        most: that were ever used at once.
        waiting: for the next tensors.
    """

    used: int
    most: int
    waiting: int


@cache
def _load() -> ctypes.CDLL | None:
    """The allocator, compiled against the headers that torch brings along."""
    place = Path(torch.__file__).parent
    flags = (
        "-std=c++20", f"-I{place / 'include'}", f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        f"-DTORCH={torch.__version__.partition('+')[0]}", f"-L{place / 'lib'}", "-l:libc10.so",
    )  # fmt: skip
    library = load_library(SOURCE, flags=flags)
    if library is not None:
        library.keep_memory.argtypes, library.keep_memory.restype = [], None
        library.report_memory.argtypes, library.report_memory.restype = [ctypes.POINTER(ctypes.c_size_t)], None
    return library


def keep_memory() -> bool:
    """Let torch's new tensors on the CPU take the memory of those that were freed, until the process ends.

    Returns:
        Whether it could be done: not without a C++ compiler, nor on other systems than Linux.

    Example:
        >>> keep_memory() in (True, False)
        True
    """
    library = _load()
    if library is None:
        return False
    library.keep_memory()
    return True


def report_memory() -> Held | None:
    """What is held now; None without the allocator.

    Example:
        >>> before = keep_memory() and report_memory()
        >>> x = torch.empty(2**20)
        >>> not before or report_memory().used - before.used
        4194368
    """
    library = _load()
    if library is None:
        return None
    found = (ctypes.c_size_t * 3)()
    library.report_memory(found)
    return Held(*found)
