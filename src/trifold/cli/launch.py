"""Several processes of the same command on this machine.

They find each other through a store in this process that only this machine can reach, and end together: a signal is passed
on to all, and the exit code says what ended the first that failed.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from trifold.errors import DistributedError
from trifold.training.interrupt import SIGNALS

__all__ = ["launch"]

LOOK, PATIENCE = 0.05, 30.0
"""Seconds between two looks at the processes, and that the others have to end after one failed."""


def launch(words: Sequence[str], count: int) -> int:
    """Run `python -m trifold` in so many processes that know of each other.

    Args:
        words: the command line of each.
        count: how many.

    Returns:
        0 when all are done, else an exit code of one that failed: 7 where a signal killed it or another one's failure ended
        it.
    """
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    listening = socket.create_server(("127.0.0.1", 0), backlog=max(128, 2 * count))
    port = listening.getsockname()[1]
    store = TCPStore(
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=60),
        master_listen_fd=listening.detach(),
    )
    started = [_start(words, rank, count, port) for rank in range(count)]
    with _passing_on(started):
        codes = _wait(started)
    del store  # it has to be there as long as they are
    return _summary(codes)


def _start(words: Sequence[str], rank: int, count: int, port: int) -> subprocess.Popen[bytes]:
    from trifold.native import cores

    threads = max(1, cores() // count)
    known = {"OMP_NUM_THREADS": str(threads), "TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ}  # we say what is wrong
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    store = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    environment = {**known, **{name: str(value) for name, value in place.items()}, **store}
    given = None if rank == 0 else subprocess.DEVNULL
    command = [sys.executable, "-m", "trifold", *words]
    return subprocess.Popen(command, env=environment, stdin=given, process_group=0)  # noqa: S603 - our own command


@contextmanager
def _passing_on(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Pass signals on to all processes, which agree where to stop."""

    def pass_on(number: int, _: object) -> None:
        for process in started:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """The exit codes of all; once one has failed, the others have a while to end by themselves."""
    until = float("inf")
    while any(process.poll() is None for process in started):
        failed = any(process.returncode for process in started)
        if failed and until == float("inf"):
            until = time.monotonic() + PATIENCE
            for process in started:  # one that stands still cannot see that the others are gone
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
        if time.monotonic() > until:
            for process in started:
                process.kill()
        time.sleep(LOOK)
    return [process.wait() for process in started]


def _summary(codes: Sequence[int]) -> int:
    own = [code for code in codes if code > 0 and code != DistributedError.exit_code]
    return own[0] if own else DistributedError.exit_code if any(codes) else 0
