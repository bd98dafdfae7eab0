"""Checkpoints are whole or not there; damage is noticed and passed over; what is deleted is no longer wanted."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from trifold.checkpoint import (
    checkpoints,
    folder_size,
    locked,
    name_of,
    newest,
    place_of,
    publish,
    recover,
    retain,
    verify,
)
from trifold.checkpoint import store as store_module
from trifold.errors import ModelFileError, StorageError, UsageError

FLIPS = 500


def write(text: str):
    def inner(folder):
        (folder / "weights").write_text(text * 100, encoding="utf-8")
        (folder / "state").write_text(text, encoding="utf-8")

    return inner


def make(root, *steps: int, **facts: object) -> None:
    for step in steps:
        publish(root / name_of(step), write(str(step)), {"step": step, **facts})


def steps_in(root) -> list[int]:
    return [place_of(folder)[0] for folder in checkpoints(root)]


def test_a18_newest_goes_by_step_not_by_name_or_time(tmp_path):
    make(tmp_path, 10000, 9, 100)
    os.utime(tmp_path / "step-00000009")
    assert newest(tmp_path).name == "step-00010000"
    publish(tmp_path / name_of(10000, 2), write("later"), {})
    assert newest(tmp_path).name == "step-00010000-pass-0002"
    retain(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00010000", "step-00010000-pass-0002"]


def test_a7_five_hundred_flipped_bits_are_noticed_and_the_one_before_is_used(tmp_path):
    make(tmp_path, 1, 2)
    folder, chance = tmp_path / "step-00000002", random.Random(0)
    files, noticed = sorted(folder.iterdir()), 0
    for _ in range(FLIPS):
        path = chance.choice(files)
        raw = path.read_bytes()
        changed = bytearray(raw)
        changed[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            noticed += newest(tmp_path).name == "step-00000001"
        assert path.name in str(said[0].message) or path.name.startswith("manifest")
        path.write_bytes(raw)
    assert noticed == FLIPS
    assert newest(tmp_path, strict=True).name == "step-00000002"


def _swap(folder):
    other = folder.with_name("step-00000001")
    (folder / "state").rename(folder / "kept")
    (other / "state").rename(folder / "state")
    (folder / "kept").rename(other / "state")


DAMAGE = {
    "truncated": lambda folder: os.truncate(folder / "weights", 7),
    "empty": lambda folder: (folder / "weights").write_bytes(b""),
    "zeroed": lambda folder: (folder / "weights").write_bytes(bytes((folder / "weights").stat().st_size)),
    "appended": lambda folder: (folder / "state").write_bytes((folder / "state").read_bytes() + b"x"),
    "missing": lambda folder: (folder / "state").unlink(),
    "extra": lambda folder: (folder / "stranger").touch(),
    "manifest missing": lambda folder: (folder / "manifest.json").unlink(),
    "manifest malformed": lambda folder: (folder / "manifest.json").write_text("{"),
    "manifest a list": lambda folder: reseal(folder, "[]"),
    "files no mapping": lambda folder: reseal(folder, json.dumps({"format": 2, "files": [1]})),
    "seal missing": lambda folder: (folder / "manifest.sha256").unlink(),
    "older": lambda folder: reseal(folder, json.dumps({"format": 1, "files": {}})),
    "newer": lambda folder: reseal(folder, json.dumps({"format": 9, "version": "7.0", "files": {}})),
    "link": lambda folder: ((folder / "state").unlink(), (folder / "state").symlink_to("/etc/hostname")),
    "pipe": lambda folder: ((folder / "manifest.json").unlink(), os.mkfifo(folder / "manifest.json")),
    "folder": lambda folder: ((folder / "state").unlink(), (folder / "state").mkdir()),
    "huge manifest": lambda folder: os.truncate(folder / "manifest.json", 2**27),
}


def reseal(folder, text):
    (folder / "manifest.json").write_text(text)
    (folder / "manifest.sha256").write_text(store_module._seal(text.encode()))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a8_a9_a19_damage_is_named_and_passed_over(tmp_path, damage):
    make(tmp_path, 1, 2)
    DAMAGE[damage](tmp_path / "step-00000002")
    with pytest.warns(UserWarning, match="Falling back"):
        assert newest(tmp_path).name == "step-00000001"
    with pytest.raises(ModelFileError, match="step-00000002"):
        newest(tmp_path, strict=True)
    if damage == "newer":
        with pytest.raises(ModelFileError, match=r"written by Trifold 7\.0"):
            verify(tmp_path / "step-00000002")


def test_a8_a10_swapped_files_and_no_whole_checkpoint_at_all(tmp_path):
    make(tmp_path, 1, 2)
    _swap(tmp_path / "step-00000002")
    with pytest.raises(ModelFileError, match=r"(?s)step-00000002.*step-00000001"):
        newest(tmp_path)
    assert newest(tmp_path / "nothing") is None


def test_a19_links_and_files_of_the_name_of_a_checkpoint_are_not_touched(tmp_path):
    make(tmp_path, 1)
    make(tmp_path / "elsewhere", 7)
    (tmp_path / "step-00000009").symlink_to(tmp_path / "elsewhere" / "step-00000007")
    (tmp_path / "step-00000008").write_text("no folder")
    (tmp_path / "step-x").mkdir()
    assert steps_in(tmp_path) == [1]
    retain(tmp_path, 1)
    assert (tmp_path / "step-00000009").is_symlink() and (tmp_path / "elsewhere" / "step-00000007").is_dir()


@pytest.mark.parametrize("name", ["with space", "line\nbreak", "中文", "x" * 200])
def test_a19_odd_names_of_folders(tmp_path, name):
    make(tmp_path / name, 1, 2)
    assert newest(tmp_path / name).name == "step-00000002"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("place", ["write", "_sync", "rename"])
def test_a4_a6_a_failing_disk_leaves_the_old_state(tmp_path, monkeypatch, code, place):
    make(tmp_path, 1)
    error = OSError(code, os.strerror(code))

    def fail(*args, **kwargs):
        raise error

    writing = write("new")
    if place == "write":
        writing = fail
    elif place == "_sync":
        monkeypatch.setattr(store_module, "_sync", fail)
    else:
        monkeypatch.setattr(store_module.Path, "rename", fail)
    with pytest.raises(StorageError):
        publish(tmp_path / "step-00000002", writing, {"step": 2}, needed=4321)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert verify(tmp_path / "step-00000001")["step"] == 1


def test_where_folders_cannot_be_opened_only_files_are_forced_to_disk_and_those_for_writing(tmp_path, monkeypatch):
    opened = []

    def open_as_windows(path, flags):
        if path.is_dir():
            raise PermissionError(errno.EACCES, "is a folder", str(path))
        opened.append((path.name, flags))
        return os.open(path, flags)

    windows = SimpleNamespace(**{**vars(os), "name": "nt", "open": open_as_windows})
    monkeypatch.setattr(store_module, "os", windows)
    make(tmp_path, 1)
    assert sorted(opened) == [(name, os.O_RDWR) for name in ("manifest.json", "manifest.sha256", "state", "weights")]
    assert verify(tmp_path / "step-00000001")["step"] == 1


def test_publishing_over_an_old_folder_replaces_it_whole(tmp_path):
    make(tmp_path, 1)
    publish(tmp_path / "step-00000001", write("again"), {"step": 1})
    assert (tmp_path / "step-00000001" / "state").read_text() == "again"
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_what_a_dead_process_left_is_put_back_or_cleared_away(tmp_path):
    make(tmp_path, 1, 2)
    (tmp_path / "step-00000001").rename(tmp_path / ".step-00000001.77.old")  # it died between two renames
    shutil.copytree(tmp_path / "step-00000002", tmp_path / ".step-00000002.77.old")
    (tmp_path / ".step-00000003.77.tmp").mkdir()
    (tmp_path / ".step-00000004.77.tmp").symlink_to(tmp_path / "step-00000002")  # not ours
    recover(tmp_path)
    (tmp_path / ".step-00000004.77.tmp").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    assert steps_in(tmp_path) == [1, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([*range(9, 13), 99, 100, 999, 1000, 10_000]), min_size=1, max_size=9, unique=True),
    st.integers(1, 3),
    st.sampled_from([0, 10, 100]),
    st.data(),
)
def test_a14_the_newest_and_every_nth_are_kept_and_those_of_other_runs(tmp_path_factory, steps, keep, every, data):
    root = tmp_path_factory.mktemp("kept")
    runs = {step: data.draw(st.sampled_from(["mine", "mine", "other"])) for step in steps}
    for step in steps:
        make(root, step, run=runs[step])
    run = runs[max(steps)]
    retain(root, keep, every=every)
    left = steps_in(root)
    assert set(sorted(steps)[-keep:]) <= set(left)
    assert {step for step in steps if runs[step] != run} <= set(left)
    assert {step for step in steps if every and step % every == 0} <= set(left)
    allowed = len(steps) if every else keep + sum(runs[step] != run for step in steps)
    assert len(left) <= allowed
    retain(root, keep, every=every)
    assert steps_in(root) == left


def test_nothing_is_deleted_when_the_newest_is_damaged(tmp_path):
    make(tmp_path, 1, 2, 3)
    DAMAGE["truncated"](tmp_path / "step-00000003")
    with pytest.raises(ModelFileError):
        retain(tmp_path, 1)
    assert steps_in(tmp_path) == [1, 2, 3]


def test_a15_a_second_process_is_told_who_has_the_folder_and_a_dead_one_has_it_no_longer(tmp_path):
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from trifold.checkpoint import locked
        with locked(Path(sys.argv[1])):
            print("held", flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=str(child.pid)), locked(tmp_path):
            pass
        child.kill()
        child.wait()
    with locked(tmp_path):
        time.sleep(0)


def test_a_lock_whose_holder_is_not_readable_is_still_a_lock(tmp_path):
    with locked(tmp_path):
        (tmp_path / ".lock.json").write_text("nonsense")
        with pytest.raises(UsageError, match=r"process \?"), locked(tmp_path):
            pass


def test_what_safetensors_says_of_a_failing_disk_is_understood(tmp_path):
    def fail(text):
        def write(_):
            raise SafetensorError(text)

        return write

    with pytest.raises(StorageError, match="full"):
        publish(tmp_path / "a", fail("I/O error: No space left on device (os error 28)"), {})
    with pytest.raises(StorageError, match="could not be written"):
        publish(tmp_path / "a", fail("something else"), {})


def test_a_failure_while_an_old_folder_is_replaced_puts_it_back(tmp_path, monkeypatch):
    make(tmp_path, 1)
    plain, calls = store_module.Path.rename, []

    def second_fails(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "gone")
        return plain(self, target)

    monkeypatch.setattr(store_module.Path, "rename", second_fails)
    with pytest.raises(StorageError):
        publish(tmp_path / "step-00000001", write("again"), {"step": 1})
    monkeypatch.undo()
    assert (tmp_path / "step-00000001" / "state").read_text() == "1"


def test_a_damaged_checkpoint_in_between_is_deleted_in_its_turn(tmp_path):
    make(tmp_path, 1, 2, 3)
    DAMAGE["manifest missing"](tmp_path / "step-00000001")
    retain(tmp_path, 1)
    assert steps_in(tmp_path) == [3]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"), locked(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path):
    make(tmp_path, 1)
    assert folder_size(tmp_path) == sum(path.stat().st_size for path in (tmp_path / "step-00000001").iterdir())


def test_checkpoints_are_listed_while_old_ones_are_deleted(tmp_path):
    over = threading.Event()

    def come_and_go():
        while not over.is_set():
            (tmp_path / "step-00000003").mkdir()
            (tmp_path / "step-00000003").rename(tmp_path / ".step-00000003.1.tmp")
            (tmp_path / ".step-00000003.1.tmp").rmdir()

    (tmp_path / "step-00000004").mkdir()
    worker = threading.Thread(target=come_and_go)
    worker.start()
    try:
        seen = {path.name for _ in range(2000) for path in checkpoints(tmp_path)}
    finally:
        over.set()
        worker.join()
    assert "step-00000004" in seen
