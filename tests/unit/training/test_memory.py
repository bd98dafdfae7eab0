import ctypes
import subprocess
import sys

import pytest

from trifold.training.memory import keep_freed_memory, return_freed_memory

FAULTS = """
import resource, sys, torch
from trifold.training.memory import keep_freed_memory, return_freed_memory
{"keep": keep_freed_memory, "give": return_freed_memory}[sys.argv[1]]()
def use():
    [torch.ones(4 * 2**20) for _ in range(8)]
use()
use()
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="another C library")
def test_memory_that_is_kept_is_not_fetched_again():
    """And what is given back is."""
    commands = {way: [sys.executable, "-c", FAULTS, way] for way in ("keep", "give")}
    faults = {way: int(subprocess.run(command, capture_output=True, check=True).stdout)
              for way, command in commands.items()}  # fmt: skip
    assert faults["keep"] < 0.1 * faults["give"]


@pytest.mark.parametrize("missing", ["system", "function"])
def test_without_glibc_nothing_is_done(monkeypatch, missing):
    if missing == "system":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    monkeypatch.setattr("trifold.training.memory.keep_memory", lambda: False)
    assert not keep_freed_memory()
    assert not return_freed_memory()
