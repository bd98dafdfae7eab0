"""A save that dies, is refused, finds no room or loses its power at any moment leaves a state to go on from, bit by bit."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trifold.checkpoint import newest, place_of

SHIM = Path(__file__).with_name("shim.c")
compiler = shutil.which("gcc")
pytestmark = pytest.mark.skipif(compiler is None or sys.platform != "linux", reason="no compiler for the shim")


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    made = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(SHIM), "-o", str(made), "-ldl"], check=True)
    return made


def explore(shim, folder, *modes):
    done = subprocess.run([sys.executable, "-m", "tests.faults.saving", str(folder), *modes], check=False, text=True,
                          env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONWARNINGS": "ignore"}, capture_output=True,
                          timeout=400)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the modes have their folders, each under its name."""
    return tmp_path_factory.mktemp("saves")


@pytest.fixture(scope="module")
def found(shim, place):
    """What the quick modes find, all in one process: to import torch takes longer than most of them."""
    return explore(shim, place, "cut", "refuse", "space", "record")


def test_a2_a_process_that_ends_before_any_call_of_a_save_loses_nothing(found):
    points = found["cut"]
    assert len(points) > 30
    for point in points:
        assert point["kept"] and point["same"] and not point["left"], point
    steps = [point["step"] for point in points]
    assert steps == sorted(steps) and steps[0] == 1 and steps[-1] == 2


@pytest.mark.parametrize(("mode", "reasons"), [("refuse", 2), pytest.param("refuse_all", 4, marks=pytest.mark.slow)])
def test_a6_a_refused_call_is_never_taken_for_a_success(shim, tmp_path, found, mode, reasons):
    points = found[mode] if mode in found else explore(shim, tmp_path, mode)[mode]
    assert len(points) > reasons * 30
    for point in points:
        assert point["kept"] and point["same"] and not point["left"], point
        if point["error"] is None:
            assert point["step"] == 2, point
        else:
            assert point["error"] == "StorageError", point
    assert sum(point["error"] == "StorageError" for point in points) > reasons * 20


def test_a4_a_full_disk_says_what_is_missing_and_takes_nothing_away(found):
    points = found["space"]
    assert len(points) == 32
    for point in points:
        assert point["error"] == "StorageError" and point["code"] == "checkpoint.disk_full", point
        assert all(int(point["values"][name].replace(",", "")) > 0 for name in ("needed", "free"))
        assert point["kept"] and point["same"] and not point["left"] and not point["dirty"] and point["step"] == 1, (
            point
        )


@pytest.mark.filterwarnings("ignore:.*Falling back")
def test_a3_power_lost_at_any_moment_leaves_the_old_state_or_the_new(found, place, tmp_path):
    """What was not forced to disk is lost, kept, cut off or zeroed, in every mixture that a disk may make of it."""
    calls, root = found["record"], place / "record" / "checkpoints"
    kept = tmp_path / "after"
    shutil.copytree(root, kept)
    done = next(number for number, call in enumerate(calls) if call[0] == "rename" and "step-" in Path(call[2]).name)
    durable = next(
        number for number, call in enumerate(calls[done:], done) if call[0] == "fsync" and call[1] == str(root)
    )
    reached = set()
    for point in range(len(calls) + 1):
        for seed in range(4):
            disk = tmp_path / "power"
            _crash(calls[:point], root, kept, disk, random.Random(seed))
            reached.add(place_of(newest(disk))[0])
            assert reached <= {1, 2}
            assert point <= durable or place_of(newest(disk))[0] == 2, (point, seed)
            shutil.rmtree(disk)
    assert reached == {1, 2}


@pytest.mark.filterwarnings("ignore:.*Falling back")
def test_a3_the_model_of_a_disk_notices_a_save_that_forces_nothing(found, place, tmp_path):
    """Without its fsyncs the same save is lost: the test above can fail."""
    calls, root, kept = found["record"], place / "record" / "checkpoints", tmp_path / "after"
    shutil.copytree(root, kept)
    lazy = [call for call in calls if call[0] != "fsync"] + [["fsync", str(root), ""]]
    reached = set()
    for seed in range(20):
        _crash(lazy, root, kept, tmp_path / f"{seed}", random.Random(seed))
        reached.add(place_of(newest(tmp_path / f"{seed}"))[0])
    assert reached == {1}


def _crash(calls, root, after, place, chance):
    """The disk after a power loss: a name is there for sure once its folder is synced, a content once its file is."""
    shutil.copytree(after / "step-00000001", place / "step-00000001")
    moves = [
        number for number, call in enumerate(calls) if call[0] == "rename" and Path(call[2]).name == "step-00000002"
    ]
    synced = {Path(call[1]).name for call in calls if call[0] == "fsync"}
    forced = bool(moves) and any(call[:2] == ["fsync", str(root)] for call in calls[moves[0] :])
    if not moves or not (forced or chance.random() < 0.7):
        return
    target, working = place / "step-00000002", Path(calls[moves[0]][1]).name
    target.mkdir()
    for source in sorted((after / "step-00000002").iterdir()):
        content = source.read_bytes()
        if source.name not in synced:
            content = chance.choice([b"", content[: len(content) // 2], bytes(len(content)), None])
        if content is not None and (working in synced or chance.random() < 0.7):
            (target / source.name).write_bytes(content)
