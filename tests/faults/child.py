"""Pieces of work in forked children, which may die or be killed: what they return comes back, or how they ended."""

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

TOO_LONG = 120.0


class Child:
    """A forked process that runs one function; the parent must not have used threads of torch."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reading)
            code = 1
            try:
                made = json.dumps(work())
                with os.fdopen(writing, "w") as file:
                    file.write(made)
                code = 0
            except BaseException:  # noqa: BLE001 - the process ends here
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writing)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = TOO_LONG) -> int | None:
        """The exit code (minus the number of the signal that ended it); None if it still runs after so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        return None

    def result(self) -> Any:
        """What the work returned."""
        code = self.wait()
        assert code == 0, f"the child ended with {code}"
        with os.fdopen(self.reading) as file:
            return json.loads(file.read())
