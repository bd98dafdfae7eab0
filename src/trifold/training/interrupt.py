"""Signals that ask a run to stop: it finishes the pass it is in, saves, and can go on later."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trifold.errors import PreemptedError

__all__ = ["SIGNALS", "Stop", "stoppable"]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
"""Those that the system has: Windows knows the first two."""


class Stop:
    """Whether the run was asked to stop, and by which signal.

    Example:
        >>> Stop().asked
        False
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._heard: signal.Signals | None = None
        self._waiting = False

    @property
    def asked(self) -> bool:
        """Whether a signal came, here or to another process of the run."""
        return self.signal is not None or self._heard is not None

    @property
    def number(self) -> int:
        """The signal's number; 0 where none came."""
        return 0 if self.signal is None else self.signal.value

    def hear(self, number: int) -> bool:
        """Take note of a signal to any process of the run (0 for none), and say whether there was one."""
        self._heard = signal.Signals(number) if number else None
        return self._heard is not None

    def error(self, step: int) -> PreemptedError:
        """The failure that says so."""
        came = self.signal or self._heard
        return PreemptedError("training.preempted", signal="?" if came is None else came.name, step=step)

    @contextmanager
    def at_once(self, step: int) -> Iterator[None]:
        """While nothing is half done (an evaluation): a signal stops the run where it is.

        Raises:
            PreemptedError: a signal came.
        """
        self._step = step
        if self.asked:
            raise self.error(step)
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def receive(self, number: int, _: FrameType | None = None) -> None:
        """What happens when a signal comes: the first asks, the second ends the process as if nobody had listened."""
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        self.signal = signal.Signals(number)
        if self._waiting:
            self._waiting = False
            raise self.error(self._step)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Listen to the signals while a run trains; outside the main thread nothing can, and nothing does.

    Example:
        >>> with stoppable() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> stop.signal.name
        'SIGTERM'
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.receive) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
