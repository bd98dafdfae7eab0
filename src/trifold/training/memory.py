"""How the process keeps memory between the steps of training."""

import ctypes
import gc
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

import torch

from trifold.native import keep_memory, memory_kept

__all__ = [
    "keep_freed_memory",
    "return_freed_memory",
    "seed_random_state",
    "settled",
    "unchanged_process",
    "unchanged_random_state",
]

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
LARGEST_MMAP_THRESHOLD = 32 * 2**20  # what glibc allows; larger blocks still come from the system and go back to it
ROOM = 256 * 2**20
SMALL_BLOCK = 2**17
_RUN = RLock()


def keep_freed_memory() -> bool:
    """Keep what is freed for the next allocation instead of giving it back to the system.

    Every step of training frees and takes the same tensors. Given back, each page of them has to be fetched and zeroed
    anew: 5 to 18 % of the processor's time. Tensors are kept by our own allocator where it can be compiled, everything else
    by glibc, after what was freed so far has gone back. The process then holds what it needed at its peak until it ends,
    and glibc cannot be told to forget it: for who owns the process, as the command line does.

    Returns:
        Whether it could be done; not without glibc or a compiler.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    kept, trim = keep_memory(), _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)  # what the preparation of data left in gaps: 40 MB of three gigabytes
    return kept | _tell_allocator(
        (MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, ROOM)
    )


@contextmanager
def unchanged_process() -> Iterator[None]:
    """What a run changes in the process that called it, put back at its end: torch's allocator, and random numbers.

    Within it torch learns, in float32, whatever the caller has set. Runs of several threads wait for one another: torch has
    one source of random numbers for them all.

    Example:
        >>> before = torch.get_rng_state()
        >>> with unchanged_process():
        ...     _ = torch.manual_seed(1)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    with _RUN, torch.inference_mode(False), torch.enable_grad(), memory_kept(), unchanged_random_state():
        numbers, dtype = random.getstate(), torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            random.setstate(numbers)  # libraries draw from it when they are first imported


@contextmanager
def unchanged_random_state(device: torch.device | None = None) -> Iterator[None]:
    """Torch's global random numbers go on after the block as if nothing had been drawn in it; on a GPU too, if it is used.

    Example:
        >>> with unchanged_random_state():
        ...     _ = torch.rand(1)
    """
    on_gpu = torch.cuda.is_initialized() or (device is not None and device.type == "cuda")
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_gpu else []):
        yield


def seed_random_state(seed: int, device: torch.device) -> None:
    """Begin torch's random numbers anew, those of the processor and of the device in use.

    `torch.manual_seed` gives the same numbers, but asks every kind of device, each with a trace of all that has called it:
    as long as the smallest models take for a layer.

    Example:
        >>> seed_random_state(7, torch.device("cpu"))
        >>> torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(7)))
        True
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def settled() -> Iterator[None]:
    """Leave what is there now out of Python's search for garbage, which else walks all examples again and again.

    Three in a hundred of the time of training on sentence pairs.

    Example:
        >>> with settled():
        ...     gc.get_freeze_count() > 0
        True
    """
    if gc.get_freeze_count():  # the caller's own, which must stay
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def return_freed_memory() -> bool:
    """Tell glibc to give back what is freed: for whoever takes blocks of many sizes, and has no room for the gaps.

    Example:
        >>> return_freed_memory() == keep_freed_memory()
        True
    """
    return _tell_allocator((MMAP_THRESHOLD, SMALL_BLOCK))


def _tell_allocator(*wanted: tuple[int, int]) -> bool:
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and all(mallopt(kind, value) == 1 for kind, value in wanted)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """One of its functions; None where there is another C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
