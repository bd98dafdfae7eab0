"""Folders from anywhere: whatever was done to them, they load or are refused by name, and nothing else happens."""

import json
import subprocess
import sys

import pytest


def fuzz(count, seed, folder):
    done = subprocess.run([sys.executable, "-m", "tests.faults.fuzzing", str(count), str(seed), str(folder)], check=False,
                          capture_output=True, text=True, timeout=1500)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]  # a signal would show here
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("seed", [1, 2])
def test_d2_d3_d4_d5_d6_d8_mutated_folders_are_refused_by_name(tmp_path, seed):
    found = fuzz(500, seed, tmp_path)
    assert not found["wrong"], "\n".join(found["wrong"][:20])
    assert sum(found["refused"].values()) > 200 and len(found["refused"]) > 5
    assert found["grown"] < 2**29


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_ten_thousand_mutated_folders(tmp_path, seed):
    found = fuzz(1000, seed, tmp_path)
    assert not found["wrong"], "\n".join(found["wrong"][:20])
