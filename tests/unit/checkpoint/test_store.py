"""Checkpoints are whole or not there; damage is noticed and passed over."""

import errno
import os
import shutil

import pytest

from trifold.checkpoint import newest, publish, retain, verify
from trifold.checkpoint import store as store_module
from trifold.errors import ModelFileError, StorageError


def write(text: str):
    def inner(folder):
        (folder / "weights").write_text(text * 100, encoding="utf-8")
        (folder / "state").write_text(text, encoding="utf-8")

    return inner


def make(root, *steps: int) -> None:
    for step in steps:
        publish(root / f"step-{step:08d}", write(str(step)), {"step": step})


def test_newest_goes_by_step_not_by_name_or_time(tmp_path):
    make(tmp_path, 10000, 9, 100)
    os.utime(tmp_path / "step-00000009")
    assert newest(tmp_path).name == "step-00010000"
    retain(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000100", "step-00010000"]


@pytest.mark.parametrize("file", ["weights", "state", "manifest.json"])
def test_a7_every_flipped_bit_is_noticed_and_the_one_before_is_used(tmp_path, file):
    make(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / file
    raw = path.read_bytes()
    for place in range(0, len(raw), max(len(raw) // 40, 1)):
        changed = bytearray(raw)
        changed[place] ^= 4
        path.write_bytes(changed)
        try:
            meta = verify(tmp_path / "step-00000002")
        except ModelFileError:
            with pytest.warns(UserWarning, match="Falling back"):
                assert newest(tmp_path).name == "step-00000001"
        else:  # white space or a fact about the run: every file is still what it was
            assert file == "manifest.json" and set(meta["files"]) == {"weights", "state"}


def test_a8_a10_truncated_missing_and_swapped_files(tmp_path):
    make(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / "state").unlink()
    with pytest.raises(ModelFileError, match="state"):
        newest(tmp_path, strict=True)
    shutil.copy(tmp_path / "step-00000002" / "weights", tmp_path / "step-00000001" / "weights")
    with pytest.raises(ModelFileError, match="(?s)step-00000002.*step-00000001"):
        newest(tmp_path)
    assert newest(tmp_path / "nothing") is None


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
        publish(tmp_path / "step-00000002", writing, {"step": 2})
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert verify(tmp_path / "step-00000001")["step"] == 1


def test_publishing_over_an_old_folder_replaces_it_whole(tmp_path):
    make(tmp_path, 1)
    publish(tmp_path / "step-00000001", write("again"), {"step": 1})
    assert (tmp_path / "step-00000001" / "state").read_text() == "again"
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
