import ctypes
import sys

import pytest

from tests.faults.fresh import execute, fresh
from trifold.training.memory import keep_freed_memory, return_freed_memory

FAULTS = """
import resource, torch
from trifold.training.memory import keep_freed_memory, return_freed_memory
WAY()
def use():
    [torch.ones(2 * 2**20) for _ in range(8)]
use()
use()
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
answer = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="another C library")
def test_memory_that_is_kept_is_not_fetched_again():
    """And what is given back is."""
    kept, given = (fresh(execute, FAULTS.replace("WAY", way.__name__), seconds=120)
                   for way in (keep_freed_memory, return_freed_memory))  # fmt: skip
    assert kept < 0.1 * given
    assert given > 0


@pytest.mark.parametrize("missing", ["system", "function"])
def test_without_glibc_nothing_is_done(monkeypatch, missing):
    if missing == "system":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    monkeypatch.setattr("trifold.training.memory.keep_memory", lambda: False)
    assert not keep_freed_memory()
    assert not return_freed_memory()
