"""Work in a process that has imported everything and used no thread of torch, so that it can be forked further.

All such processes are forked from one that waits for them: to import torch anew takes longer than most of the work.
"""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.fuzzing", "tests.faults.killing", "tests.faults.together"])


def fresh(work: Callable[..., Any], *given: Any, seconds: float) -> Any:
    """What the work returns; an error where it fails, is killed or takes too long."""
    reading, writing = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_answer, args=(writing, work, given))
    process.start()
    writing.close()
    try:
        assert reading.poll(seconds), f"nothing after {seconds} seconds"
        problem, made = reading.recv()
    except EOFError:
        process.join()
        raise AssertionError(f"the process ended with {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
    assert not problem, problem
    return made


def execute(script: str) -> Any:
    """What a script leaves as `answer`; unlike a function's, its module has no effects of its own in the process."""
    names: dict[str, Any] = {"answer": None}
    exec(script, names)  # noqa: S102 - our own script
    return names["answer"]


def _answer(writing: Connection, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    try:
        answer = "", work(*given)
    except BaseException:  # noqa: BLE001 - the process ends here
        answer = traceback.format_exc(), None
    writing.send(answer)
