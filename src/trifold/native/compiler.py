"""C and C++ compiled on the user's machine, once, by its own compiler and for its own processor (docs/decisions/0012).

Without a compiler, on other systems than Linux, or with `TRIFOLD_KERNEL=off`, there is none, and torch does the work.
`TRIFOLD_ISA` names an older instruction set to compile for (see `processor`).
"""

import contextlib
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from trifold.locale import message
from trifold.native.processor import compiler_flags

__all__ = ["load_library", "trusted"]

Kernel = TypeVar("Kernel")

FLAGS = ("-O3", "-fopenmp", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
"""The last two: nobody asks for the traces of functions and comparisons, and they forbid vectors."""
COMPILERS = {".c": ("CC", "cc", "gcc", "clang"), ".cpp": ("CXX", "c++", "g++", "clang++")}
ERRORS = (OSError, subprocess.SubprocessError)


def load_library(*sources: Path, flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The library of these sources, compiled now or before; None where that cannot be done.

    Args:
        sources: the file to compile, in C or C++, then those that it includes.
        flags: for the compiler, after the source; beside those that all are compiled with.

    Example:
        >>> load_library(Path("missing.c")) is None
        True
    """
    variable, *names = COMPILERS[sources[0].suffix]
    compiler = next(filter(None, map(shutil.which, (os.environ.get(variable) or names[0], *names[1:]))), None)
    if sys.platform != "linux" or os.environ.get("TRIFOLD_KERNEL") == "off" or compiler is None:
        return None
    try:
        ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOW | os.RTLD_NOLOAD)  # torch's threads must serve both
        return _library([compiler, *compiler_flags(), *FLAGS, str(sources[0]), *flags], sources)
    except ERRORS:
        return None


def _library(command: list[str], sources: tuple[Path, ...]) -> ctypes.CDLL:
    """The compiled file of these sources, command and processor, from the user's cache."""
    processor = [
        line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith(("flags", "Feat"))
    ]
    parts = (*(source.read_text("utf-8") for source in sources), *command, *processor[:1])
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    with _folder() as folder:
        path = folder / f"{sources[0].stem}-{name}.so"
        if path.exists():
            with contextlib.suppress(OSError):  # a damaged file is made anew
                return ctypes.CDLL(str(path))
        _compile(command, path)
        return ctypes.CDLL(str(path))


def _compile(command: list[str], path: Path) -> None:
    handle, working = tempfile.mkstemp(dir=path.parent, suffix=".so")
    os.close(handle)
    try:
        subprocess.run([*command, "-o", working, "-lm"], check=True, capture_output=True, timeout=60)  # noqa: S603 - our source
        Path(working).replace(path)  # whole or not at all, whoever else compiles at the same time
    finally:
        Path(working).unlink(missing_ok=True)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Where compiled files are kept: a place that only the user can write, since what lies there is run."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trifold"
    if _is_ours(place):
        yield place
    else:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)


def _is_ours(place: Path) -> bool:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = place.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & 0o022 and os.access(place, os.W_OK)


def _apart(is_right: Callable[[Kernel], bool], kernel: Kernel) -> bool:
    """What a check says in a thread of its own; a pool would refuse to begin while the interpreter ends."""
    answer: Future[bool] = Future()

    def check() -> None:
        try:
            answer.set_result(is_right(kernel))
        except BaseException as error:  # noqa: BLE001 - raised again where the check was asked for
            answer.set_exception(error)

    thread = threading.Thread(target=check)
    thread.start()
    thread.join()
    return answer.result()


def trusted(kernel: Kernel | None, is_right: Callable[[Kernel], bool], name: str) -> Kernel | None:
    """A kernel that gives the right numbers; None, and a warning with its name, for one that does not.

    It is checked where it is first asked for, which may be in the middle of somebody's computation. The check runs in a
    thread of its own, in which gradients are on, and nobody hears of what autograd keeps for them: activation
    checkpointing counts that, and computes again without the check.

    Example:
        >>> trusted("kernel", lambda _: True, "product.c"), trusted(None, lambda _: True, "product.c")
        ('kernel', None)
    """
    if kernel is None:
        return None
    if _apart(is_right, kernel):
        return kernel
    warnings.warn(message("native.wrong", name=name), stacklevel=3)
    return None
