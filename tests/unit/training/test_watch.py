"""Who watches the other processes of a run: what it says of those that fail, fall silent or cannot be reached."""

from pathlib import Path

import pytest
import torch.distributed as dist

from trifold.errors import DistributedError
from trifold.training import watch
from trifold.training.watch import Watch


class Store(dist.TCPStore):
    """A store of this process, which can break off."""

    def __init__(self):
        super().__init__("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self.broken = False

    def __getattribute__(self, name):
        if name in ("set", "get", "check", "multi_get", "compare_set") and self.broken:
            raise RuntimeError("Connection reset by peer")
        return super().__getattribute__(name)


@pytest.fixture
def both(tmp_path):
    """Two watches over one store."""
    store = Store()
    found = [Watch(rank, 2, lambda: store, 5.0, tmp_path / "stacks") for rank in range(2)]
    yield store, *found
    for one in found:
        one.close()


def test_what_one_leaves_the_other_takes(both):
    _, first, second = both
    first.put("number", [1, 2])
    assert second.take(["number"]) == [[1, 2]]


def test_an_alarm_ends_whoever_waits_with_the_words_and_the_exit_code_of_the_one_that_failed(both):
    _, first, second = both
    assert second.alarm("the disk is full", 5)
    assert not first.alarm("too late", 6)
    with pytest.raises(DistributedError, match="the disk is full") as caught:
        first.take(["never"])
    assert caught.value.exit_code == 5 and caught.value.told  # by the other one, on this machine
    assert second.explain(RuntimeError("reset")).told is False


def test_a_first_process_that_falls_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "SILENT", 0.3)
    store = Store()
    alone = Watch(1, 2, lambda: store, 5.0, tmp_path / "stacks")
    try:
        with pytest.raises(DistributedError, match="rank 0"):
            alone.take(["never"])
        assert "test_a_first_process_that_falls_silent" in (tmp_path / "stacks" / "rank-00001.txt").read_text()
        with pytest.raises(DistributedError, match="rank 0"):  # and stays given up
            alone.put("anything", 1)
    finally:
        alone.close()


def test_where_all_live_and_nobody_is_late_the_connection_is_to_blame(both, monkeypatch):
    monkeypatch.setattr(watch, "LOOK", 0.6)  # long enough for a beat of each
    _, first, _ = both
    first.take([])
    assert "Connection closed" in str(first.explain(RuntimeError("Connection closed by peer")))


def test_a_store_that_is_gone_is_said_to_be_gone_and_each_process_writes_where_it_stands(both, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LOST", 60.0)
    store, first, second = both
    store.broken = True
    with pytest.raises(DistributedError, match="can no longer reach"):
        first.put("number", 1)
    with pytest.raises(DistributedError, match="can no longer reach"):
        second.take(["number"])
    assert sorted(path.name for path in (tmp_path / "stacks").iterdir()) == ["rank-00000.txt", "rank-00001.txt"]
    assert second.alarm("nobody hears it", 1)


def test_stacks_are_written_only_where_the_run_has_a_folder_and_somebody_waits_in_vain(tmp_path):
    store = Store()
    for stacks, hangs in ((tmp_path / "no" / "stacks", True), (tmp_path / "stacks", False)):
        one = Watch(0, 1, lambda: store, 5.0, stacks)
        one._write_stacks({"hangs": hangs})
        one.close()
        assert not Path(stacks).exists()
