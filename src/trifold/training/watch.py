"""Which processes of a run still live, and what ended those that do not.

Every process has a thread that writes a beat into torch's store four times a second, and reads there whether another
process has raised the alarm. Nobody reads beats while all goes well.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from torch.distributed.distributed_c10d import Store

from trifold.errors import DistributedError
from trifold.locale import message

__all__ = ["Watch"]

BEAT, LOOK, GRACE = 0.25, 1.0, 1.0
"""Seconds between two beats, from one look at them to the next, and to end by oneself after an alarm."""
LOST, SILENT = 5.0, 30.0
"""Seconds after which a store that does not answer is given up, and a first process that others wait for."""
ALARM = "alarm"


class Watch:
    """One process's eye on the others.

    Args:
        rank: of this process.
        size: how many there are.
        connect: opens a connection to the store of the run.
        timeout: seconds to wait for others.

    Attributes:
        doing: what this process is about, for messages of others: the name of a message in `locale/training.toml`.
        calls: how often it has met with the others.
        at_risk: whether it may be ended from outside its main thread, as nothing it does is being written down.
    """

    def __init__(self, rank: int, size: int, connect: Callable[[], Store], timeout: float) -> None:
        self.rank, self.size, self.timeout = rank, size, timeout
        self.doing, self.calls, self.at_risk = "training.doing_start", 0, False
        self._connect, self._store, self._over = connect, connect(), threading.Event()
        self.host = socket.gethostname()
        self._store.set(f"who/{rank}", json.dumps([os.getpid(), self.host]))
        self._thread = threading.Thread(target=self._beat, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching and being watched."""
        self._over.set()
        self._thread.join(2 * BEAT)

    def put(self, key: str, value: object) -> None:
        """Leave something for the others."""
        try:
            self._store.set(key, json.dumps(value))
        except RuntimeError:
            raise self._failure(self._unreachable()) from None

    def take(self, keys: Sequence[str]) -> list[Any]:
        """What others leave, as soon as all of it is there, however long that takes while the first process lives.

        Raises:
            DistributedError: another process failed, or the first one fell silent.
        """
        moved, last = time.monotonic(), -1
        while not self._is_there(keys):
            count = self._beats().get(0, [0])[0]
            if count != last:
                moved, last = time.monotonic(), count
            if time.monotonic() - moved > SILENT:
                raise self.explain(TimeoutError())
            time.sleep(BEAT / 5)
        return [json.loads(value) for value in self._store.multi_get(list(keys))]

    def explain(self, error: Exception) -> DistributedError:
        """Why a meeting with the others failed: what they say, or who of them is silent or late."""
        self.at_risk = False
        try:
            before, alarm = self._beats(), self._alarm()
            for _ in range(10):
                if alarm is not None:
                    break
                time.sleep(LOOK / 10)
                alarm = self._alarm()
            else:
                self.alarm(self._accuse(before, error), DistributedError.exit_code)
                alarm = self._alarm()
        except RuntimeError:  # the store is gone with the machine it was on
            alarm = None
        return self._failure(alarm or self._unreachable())

    def alarm(self, text: str, exit_code: int) -> bool:
        """Tell the others what ends this process; whether nobody else was faster."""
        own = json.dumps({"rank": self.rank, "host": self.host, "exit_code": exit_code, "text": text})
        try:
            return self._store.compare_set(ALARM, "", own) == own.encode()
        except RuntimeError:  # nobody is there to be told
            return True

    def _accuse(self, before: dict[int, list[Any]], error: Exception) -> str:
        after = self._beats()
        others = [rank for rank in range(self.size) if rank != self.rank]
        silent = [rank for rank in others if before.get(rank) == after.get(rank)]
        late = [rank for rank in others if after.get(rank, [0, 0])[1] < self.calls]
        if not silent and not late:
            return message("training.rank_lost", problem=(str(error) or type(error).__name__).splitlines()[0][:300])
        names = ", ".join(self._describe(rank, after.get(rank)) for rank in silent or late)
        facts = {"ranks": names, "waiting": self.rank, "doing": message(self.doing), "seconds": f"{self.timeout:g}"}
        timed_out = isinstance(error, TimeoutError) or "timed out" in str(error).lower()
        return message("training.rank_late", **facts) if timed_out else message("training.rank_gone", **facts)

    def _describe(self, rank: int, beat: list[Any] | None) -> str:
        pid, host = json.loads(self._store.get(f"who/{rank}")) if self._store.check([f"who/{rank}"]) else ("?", "?")
        last = message("training.doing_start") if beat is None else message(beat[2])
        return message("training.rank_named", rank=rank, pid=pid, host=host, doing=last)

    def _beats(self) -> dict[int, list[Any]]:
        keys = [f"beat/{rank}" for rank in range(self.size)]
        if self._store.check(keys):
            return {rank: json.loads(value) for rank, value in enumerate(self._store.multi_get(keys))}
        return {rank: json.loads(self._store.get(key)) for rank, key in enumerate(keys) if self._store.check([key])}

    def _alarm(self, store: Store | None = None) -> dict[str, Any] | None:
        store = store or self._store
        return json.loads(store.get(ALARM)) if store.check([ALARM]) else None

    def _is_there(self, keys: Sequence[str]) -> bool:
        """Whether all keys are; an alarm in the meantime is raised."""
        try:
            found, alarm = self._store.check(list(keys)), self._alarm()
        except RuntimeError:
            alarm, found = self._unreachable(), False
        if alarm is not None and not found:
            raise self._failure(alarm)
        return found

    def _failure(self, alarm: dict[str, Any]) -> DistributedError:
        failed = DistributedError("training.together_failed", problem=alarm["text"])
        failed.exit_code = alarm["exit_code"]
        failed.told = alarm["rank"] != self.rank and alarm["host"] == self.host
        return failed

    def _unreachable(self) -> dict[str, Any]:
        text = message("training.store_lost", rank=self.rank, doing=message(self.doing))
        return {"rank": self.rank, "host": self.host, "exit_code": DistributedError.exit_code, "text": text}

    def _beat(self) -> None:
        store, count, failed = self._connect(), 0, 0
        while not self._over.wait(BEAT):
            count += 1
            try:
                store.set(f"beat/{self.rank}", json.dumps([count, self.calls, self.doing]))
                alarm = self._alarm(store)
                failed = 0
            except RuntimeError:
                failed += 1
                alarm = self._unreachable() if failed * BEAT >= LOST else None
            if alarm is not None and not self._over.wait(GRACE) and self.at_risk:
                sys.stderr.write(f"{self._failure(alarm)}\n")
                os._exit(alarm["exit_code"])  # the main thread waits for somebody who will not come
