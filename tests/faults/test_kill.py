"""Killed at any moment, as often as you like, a run ends with the bits of the run that nobody killed."""

import json
import subprocess
import sys

import pytest

from tests.faults.killing import KINDS


def kill(kind, runs, folder):
    done = subprocess.run([sys.executable, "-m", "tests.faults.killing", kind, str(runs), str(folder)], check=False,
                          capture_output=True, text=True, timeout=1500)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a1_killed_at_random_moments_it_ends_with_the_same_bits(kind, tmp_path):
    found = kill(kind, 4, tmp_path)
    assert not found["wrong"]
    assert found["kills"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a1_two_hundred_runs(kind, tmp_path):
    found = kill(kind, 40, tmp_path)
    assert not found["wrong"]
    assert found["kills"] > 40
