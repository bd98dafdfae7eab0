"""Freed tensors' memory kept for the next tensors, by an allocator of our own (see `memory.cpp`), and large pages."""

import contextlib
import ctypes
import mmap
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from trifold.native.compiler import load_library

__all__ = ["Held", "enlarge_pages", "keep_memory", "memory_kept", "report_memory"]

SOURCE = Path(__file__).with_name("memory.cpp")
LINE, LEAST = 64, 2**16
"""Bytes: where a tensor begins, and how many it must have to be moved."""


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
        "-std=c++20",
        f"-I{place / 'include'}",
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        f"-DTORCH={torch.__version__.partition('+')[0]}",
        f"-L{place / 'lib'}",
        "-l:libc10.so",
    )
    library = load_library(SOURCE, flags=flags)
    if library is not None:
        for change in (library.keep_memory, library.release_memory):
            change.argtypes, change.restype = [], None
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


@contextlib.contextmanager
def memory_kept() -> Iterator[None]:
    """As `keep_memory`, until the end of the block; where the process keeps its memory anyway, nothing changes.

    Example:
        >>> with memory_kept():
        ...     x = torch.empty(2**20)
    """
    library = _load()
    if library is None:
        yield
        return
    library.keep_memory()
    try:
        yield
    finally:
        library.release_memory()


def report_memory() -> Held | None:
    """What is held now; None without the allocator.

    Example:
        >>> kept = keep_memory()
        >>> x = torch.empty(2**20)
        >>> not kept or report_memory().used >= x.nbytes
        True
    """
    library = _load()
    if library is None:
        return None
    found = (ctypes.c_size_t * 3)()
    library.report_memory(found)
    return Held(*found)


def enlarge_pages(tensors: Iterable[Tensor]) -> None:
    """Move what tensors hold, in place, into one block of memory of large pages (2 MiB), where the system has them.

    What is read from end to end again and again is read a third faster: there are fewer addresses to look up.

    Args:
        tensors: on the CPU; small ones, and those that are not contiguous, stay where they are.

    Example:
        >>> x = torch.arange(2**14)
        >>> enlarge_pages([x])
        >>> bool((x == torch.arange(2**14)).all())
        True
    """
    moved = [tensor for tensor in dict.fromkeys(tensors) if tensor.nbytes >= LEAST and tensor.is_contiguous()]
    room = [-(-tensor.nbytes // LINE) * LINE for tensor in moved]
    if not moved or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    block = mmap.mmap(-1, sum(room), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a system without them
        block.madvise(mmap.MADV_HUGEPAGE)
    start = 0
    for tensor, size in zip(moved, room, strict=True):
        place = torch.frombuffer(block, dtype=tensor.dtype, count=tensor.numel(), offset=start).view(tensor.shape)
        tensor.data = place.copy_(tensor.detach())
        start += size
