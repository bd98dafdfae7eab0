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
    faults = {way: int(subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, check=True).stdout)
              for way in ("keep", "give")}  # fmt: skip
    assert faults["keep"] < 0.1 * faults["give"]
