"""Which processes of a run still live, and what ended those that do not.

Every process has a thread that writes a beat into torch's store four times a second, and reads there whether another
process has raised the alarm. Nobody reads beats while all goes well. A second thread asks nobody, since a question to a
machine that is cut off may never be answered.
"""

import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.distributed.distributed_c10d import Store

from trifold.errors import DistributedError
from trifold.locale import message

__all__ = ["Watch"]

BEAT, LOOK, GRACE = 0.25, 1.0, 1.0
"""Seconds between two beats, from one look at them to the next, and to end by oneself after an alarm."""
LOST, SILENT = 5.0, 30.0
"""Seconds after which a store that is broken off is given up, and a silent first process that others wait for."""
ALARM = "alarm"


class Watch:
    """One process's eye on the others.

    Args:
        rank: of this process.
        size: how many there are.
        connect: opens a connection to the store of the run.
        timeout: seconds to wait for others.
        stacks: a folder where each process writes down what all its threads are about, when others wait in vain; it is made
            where its parent is there.

    Attributes:
        doing: what this process is about, for messages of others: the name of a message.
        calls: how often it has met with the others.
        at_risk: whether it may be ended from outside its main thread, as nothing it does is being written down.
    """

    def __init__(self, rank: int, size: int, connect: Callable[[], Store], timeout: float, stacks: Path) -> None:
        self.rank, self.size, self.timeout, self.stacks = rank, size, timeout, stacks
        self.doing, self.calls, self.at_risk = "training.doing_start", 0, False
        self._connect, self._store, self._over = connect, connect(), threading.Event()
        self._heard, self._broken = time.monotonic(), False
        self._seen: dict[str, Any] | None = None
        self._end: DistributedError | None = None
        self._writing, self._written = threading.Lock(), False
        self.host = socket.gethostname()
        self._mine = {"rank": rank, "host": self.host}
        self._store.set(f"who/{rank}", json.dumps([os.getpid(), self.host]))
        for work in (self._beat, self._guard):
            threading.Thread(target=work, name="watch", daemon=True).start()

    def close(self) -> None:
        """Stop watching and being watched."""
        self._over.set()

    def put(self, key: str, value: object) -> None:
        """Leave something for the others.

        Raises:
            DistributedError: the store is gone.
        """
        self._raise_end()
        try:
            self._store.set(key, json.dumps(value))
        except RuntimeError:
            raise self._failure(self._unreachable()) from None

    def take(self, keys: Sequence[str]) -> list[Any]:
        """What others leave, as soon as all of it is there, however long that takes while the first process lives.

        Raises:
            DistributedError: another process failed, or the first one fell silent.
        """
        self._raise_end()
        moved, last = time.monotonic(), -1
        try:
            while not self._store.check(list(keys)):
                if self._seen is not None:
                    raise self._failure(self._seen)
                count = self._beats().get(0, [0])[0]
                moved, last = (time.monotonic(), count) if count != last else (moved, last)
                if time.monotonic() - moved > SILENT:
                    raise self.explain(TimeoutError())
                time.sleep(BEAT / 5)
            return [json.loads(value) for value in self._store.multi_get(list(keys))]
        except RuntimeError as error:
            raise self.explain(error) from None

    def explain(self, error: Exception) -> DistributedError:
        """Why a meeting with the others failed: what they say, or who of them is silent or late."""
        self.at_risk = False
        answers: list[dict[str, Any]] = []
        asking = threading.Thread(target=lambda: answers.append(self._ask(error)), name="watch", daemon=True)
        asking.start()
        asking.join(LOOK + 2 * GRACE)  # where the machine with the store cannot be reached, no answer comes at all
        self._end = self._failure(answers[0] if answers else self._unreachable())
        return self._end

    def _ask(self, error: Exception) -> dict[str, Any]:
        try:
            before, alarm, until = self._beats(), self._alarm(self._store), time.monotonic() + LOOK
            while alarm is None and time.monotonic() < until:
                time.sleep(BEAT / 5)
                alarm = self._alarm(self._store)
            if alarm is None:
                self.alarm(self._accuse(before, error), DistributedError.exit_code, hangs=_timed_out(error))
                alarm = self._alarm(self._store)
        except RuntimeError:
            alarm = None
        return alarm or self._unreachable()

    def alarm(self, text: str, exit_code: int, *, hangs: bool = False) -> bool:
        """Tell the others what ends this process, and whether it waits in vain; whether nobody else was faster."""
        own = json.dumps({**self._mine, "exit_code": exit_code, "text": text, "hangs": hangs})
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
        if _timed_out(error):
            return message("training.rank_late", **facts, stacks=self.stacks)
        return message("training.rank_gone", **facts)

    def _describe(self, rank: int, beat: list[Any] | None) -> str:
        pid, host = json.loads(self._store.get(f"who/{rank}")) if self._store.check([f"who/{rank}"]) else ("?", "?")
        last = message("training.doing_start") if beat is None else message(beat[2])
        return message("training.rank_named", rank=rank, pid=pid, host=host, doing=last)

    def _beats(self) -> dict[int, list[Any]]:
        keys = [f"beat/{rank}" for rank in range(self.size)]
        if self._store.check(keys):
            return {rank: json.loads(value) for rank, value in enumerate(self._store.multi_get(keys))}
        return {rank: json.loads(self._store.get(key)) for rank, key in enumerate(keys) if self._store.check([key])}

    @staticmethod
    def _alarm(store: Store) -> dict[str, Any] | None:
        return json.loads(store.get(ALARM)) if store.check([ALARM]) else None

    def _raise_end(self) -> None:
        if self._end is not None:
            raise self._end

    def _failure(self, alarm: dict[str, Any]) -> DistributedError:
        """What ends this process; before it does, its stacks are written."""
        self._write_stacks(alarm)
        failed = DistributedError("training.together_failed", problem=alarm["text"])
        failed.exit_code = alarm["exit_code"]
        failed.told = alarm["rank"] != self.rank and alarm["host"] == self.host
        return failed

    def _unreachable(self) -> dict[str, Any]:
        text = message("training.store_lost", rank=self.rank, doing=message(self.doing))
        return {**self._mine, "exit_code": DistributedError.exit_code, "text": text, "hangs": True}

    def _write_stacks(self, alarm: dict[str, Any]) -> None:
        """Where somebody waits in vain, write down where each thread of this process stands, so that one sees what for."""
        if not alarm["hangs"] or not self.stacks.parent.is_dir():
            return
        with self._writing, suppress(OSError):  # whoever comes second waits until they are there
            if self._written:
                return
            self._written = True
            self.stacks.mkdir(exist_ok=True)
            with (self.stacks / f"rank-{self.rank:05d}.txt").open("w", encoding="utf-8") as file:
                file.write(f"{self.host} {os.getpid()} {message(self.doing)}\n")
                file.flush()
                faulthandler.dump_traceback(file)

    def _beat(self) -> None:
        """Tell the store again and again that this process lives, and look there for an alarm."""
        store, count = self._connect(), 0
        while not self._broken and not self._over.wait(BEAT):
            count += 1
            try:
                store.set(f"beat/{self.rank}", json.dumps([count, self.calls, self.doing]))
                self._seen = self._alarm(store)
                self._heard = time.monotonic()
            except RuntimeError:
                self._broken = True  # and stays so

    def _guard(self) -> None:
        """End the process where its main thread waits for somebody who will not come."""
        while not self._over.wait(BEAT):
            limit = LOST if self._broken else self.timeout + LOOK
            lost = time.monotonic() - self._heard > limit
            alarm = self._seen or (self._unreachable() if lost else None)
            if alarm is None:
                continue
            failure = self._failure(alarm)
            if not self._over.wait(GRACE) and self.at_risk:
                sys.stderr.write(f"{failure}\n")
                os._exit(alarm["exit_code"])


def _timed_out(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or "timed out" in str(error).lower()
