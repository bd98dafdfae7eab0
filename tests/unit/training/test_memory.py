import os
import subprocess
import sys

import pytest

from trifold.training.memory import keep_freed_memory

FAULTS = """
import resource, sys, torch
from trifold.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
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
    """In a process whose C library would otherwise give every large block back."""
    giving = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    commands = {way: [sys.executable, "-c", FAULTS, way] for way in ("keep", "give")}
    faults = {way: int(subprocess.run(command, capture_output=True, check=True, env=giving).stdout)
              for way, command in commands.items()}  # fmt: skip
    assert faults["keep"] < 0.1 * faults["give"]
