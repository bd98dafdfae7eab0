"""Several processes train as one, and none of them waits for one that will not come."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.faults import together
from tests.faults.fresh import fresh

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


def play(scenario, folder):
    return json.loads(json.dumps(fresh(together.play, scenario, folder, seconds=240)))  # as a file would have it


@pytest.mark.parametrize("scenario", ["same", pytest.param("same_by_four", marks=pytest.mark.slow)])
def test_any_number_of_processes_gives_the_same_losses_and_in_a_fixed_order_the_same_bits(scenario, tmp_path):
    found = play(scenario, tmp_path)
    first, *others = found["losses"].values()
    assert all(other == pytest.approx(first, rel=1e-5) for other in others)
    assert all(state == found["states"]["1"] for state in found["states"].values())


def test_fine_tuning_is_the_same_run_by_any_number_of_processes_killed_or_in_shares(tmp_path):
    found = play("tuned", tmp_path)
    assert found["killed"] == [7, -9]
    first, *others = found["states"]
    assert all(other == first for other in others)
    assert found["judgements"][0] == found["judgements"][1]
    assert found["losses"]["2"] == pytest.approx(found["losses"]["1"], rel=1e-5)


def test_c1_a_killed_process_is_named_and_the_run_goes_on_with_the_same_bits(tmp_path):
    found = play("killed", tmp_path)
    assert found["codes"] == [[7, -9], [-9, 7], [0, 0]]
    for said, rank, seconds in zip(found["said"], (1, 0), found["seconds"], strict=True):
        assert f"gone: rank {rank} (process " in said
        assert seconds < 10  # a second to look who is silent; the rest is for a busy machine
    assert found["state"] == found["expected"]


def test_c2_a_process_that_stands_still_is_named_when_the_time_is_over(tmp_path):
    found = play("stopped", tmp_path)
    assert (found["code"], found["other"]) == (7, 7)
    assert "did not come within 2 s (training.timeout): rank 1 (process " in found["said"]
    assert 2 <= found["seconds"] < 12
    assert sorted(found["stacks"]) == ["rank-00000.txt", "rank-00001.txt"]
    assert "loop.py" in found["stacks"]["rank-00000.txt"]  # where the other was waited for


def test_c2_a_process_that_does_not_go_on_is_named_and_its_stack_says_where_it_stands(tmp_path):
    found = play("held", tmp_path)
    assert found["codes"] == [7, 7]
    assert "did not come within 2 s (training.timeout): rank 1 (process " in found["said"]
    assert str(tmp_path / "run" / "stacks") in found["said"]
    assert "in stands_here" in found["stacks"]["rank-00001.txt"]


def test_c3_all_end_when_the_first_process_cannot_save(tmp_path):
    found = play("unsaved", tmp_path)
    assert found["codes"] == [5, 5]
    assert "The disk is full" in found["said"]


def test_a_process_that_fails_by_itself_ends_all_with_its_words_and_the_first_saves_what_is_done(tmp_path):
    found = play("failing", tmp_path)
    assert found["codes"][1] == 1
    assert "ValueError: no such thing" in found["said"]
    assert found["kept"] == ["step-00000004"]
    assert found["seconds"] < 15  # its timeout is 20


def test_c4_passes_that_cannot_be_shared_are_refused_before_anything_starts(tmp_path):
    found = play("uneven", tmp_path)
    assert found["codes"] == [[2, 2, 2], [2, 2]]
    assert found["said"].count("4 passes (training.accumulation), which 3 processes cannot share evenly") == 1
    assert found["said"].count("must be powers of two") == 1
    assert not found["left"]


@pytest.mark.slow
def test_c5_saved_by_two_gone_on_with_by_one_then_four_then_two_it_ends_with_the_same_bits(tmp_path):
    found = play("resume", tmp_path)
    assert found["codes"] == [[75, 75], [75], [75] * 4, [0, 0]]
    assert found["state"] == found["expected"]


def test_c5_saved_by_two_gone_on_with_by_one_it_ends_with_the_same_bits(tmp_path):
    found = play("resume_alone", tmp_path)
    assert found["codes"] == [[75, 75], [75], [0, 0]]
    assert found["state"] == found["expected"]


@pytest.mark.parametrize("scenario", ["shares", pytest.param("shares_by_three", marks=pytest.mark.slow)])
def test_processes_that_each_hold_a_share_of_the_weights_train_every_family_as_one_process_does(scenario, tmp_path):
    found = play(scenario, tmp_path)
    assert found.keys() == together.FAMILIES.keys()
    for family, (alone, *others) in found.items():
        assert len(alone) > 8 and others
        assert all(other == pytest.approx(alone, rel=1e-12) for other in others), family


def test_c5_shares_that_two_saved_give_two_the_same_bits_and_are_read_by_any_number(tmp_path):
    found = play("shares_resumed", tmp_path)
    assert found["codes"] == [[75, 75], [0, 0], [0], [0] * 4], found["said"]
    assert found["state"] == found["expected"]
    whole, *others = found["losses"]
    assert all(other == pytest.approx(whole, rel=1e-4) for other in others)


def test_c1_c2_a_process_with_a_share_that_is_gone_or_stands_still_is_named_and_one_without_memory_says_so(tmp_path):
    found = play("shares_hurt", tmp_path)
    assert found["codes"] == [[7, -9], [7, 7], [2, 2]]
    killed, stopped, narrow = found["said"]
    assert "gone: rank 1 (process " in killed
    assert "did not come within 3 s (training.timeout): rank 1 (process " in stopped
    assert "with --parallel fsdp one process cannot compute them in parts" in narrow
    assert found["seconds"][0] < 10
    assert 3 <= found["seconds"][1] < 13


def test_c6_processes_with_different_settings_are_refused(tmp_path):
    found = play("unlike", tmp_path)
    assert found["codes"] == [7, 7]
    assert "experiment.training.seed: rank 0 0, rank 1 1" in found["said"]
    assert not found["left"]


def test_c7_c8_a_slow_process_is_reported_and_nothing_listens_to_other_machines(tmp_path):
    found = play("straggling", tmp_path)
    assert found["codes"] == [0, 0]
    assert "Rank 1 is slow" in found["said"]
    assert found["places"]
    assert set(found["places"]) == {"0100007F"}


def has_networks():
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    command = "unshare -rn ip link add here type veth peer name there"
    tried = subprocess.run(command.split(), check=False, capture_output=True)
    return tried.returncode == 0


@pytest.mark.skipif(not has_networks(), reason="this system lets nobody make networks (unshare -rn, ip link add)")
def test_two_machines_end_when_their_cable_is_cut(tmp_path):
    words = ("unshare", "-rn", sys.executable, "-m", "tests.faults.together", "cut", str(tmp_path))
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["codes"] == [7, 7]
    assert "rank 1 (process " in found["said"]
    assert "Rank 1 can no longer reach the process that started the run" in found["said"]
    assert found["seconds"] < 20


@pytest.mark.slow
def test_c1_torchrun_starts_killed_processes_again_and_the_bits_are_the_same(tmp_path):
    found = play("started_again", tmp_path)
    assert found["code"] == 0
    assert found["gone"]
    assert found["state"] == found["expected"]
