"""Killed at any moment, as often as you like, a run ends with the bits of the run that nobody killed."""

import pytest

from tests.faults.fresh import fresh
from tests.faults.killing import KINDS, main


def kill(kind, runs, folder):
    return fresh(main, kind, runs, folder, seconds=1500)


@pytest.mark.parametrize("kind", ["gpt2", "t5", "lora", "translation"])
def test_a1_killed_at_random_moments_it_ends_with_the_same_bits(kind, tmp_path):
    found = kill(kind, 2, tmp_path)
    assert not found["wrong"]
    assert found["kills"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a1_two_hundred_runs(kind, tmp_path):
    found = kill(kind, 40, tmp_path)
    assert not found["wrong"]
    assert found["kills"] > 40
