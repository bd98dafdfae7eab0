"""How the process keeps memory between the steps of training."""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
LARGEST_MMAP_THRESHOLD = 32 * 2**20  # what glibc allows; larger blocks still come from the system and go back to it
ROOM = 256 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed for the next allocation instead of giving it back to the system.

    Every step of training frees and takes the same tensors. Given back, each page of them has to be fetched and zeroed
    anew: 5 % of the processor's time on our machine. The process then holds what it needed at its peak until it ends.

    Returns:
        Whether it could be done; not without glibc.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    wanted = ((MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, ROOM))
    return all(mallopt(kind, value) == 1 for kind, value in wanted)
