"""The allocator: memory goes from tensor to tensor, and what waits is bounded."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.faults.fresh import execute, fresh
from trifold.native.memory import enlarge_pages, keep_memory

HEADER = "import torch\nfrom trifold.native.memory import keep_memory, report_memory\nassert keep_memory()\n"
compiled = pytest.mark.skipif(not keep_memory(), reason="no compiler")


def run(script: str) -> None:
    """Run in a process of its own, which has torch but no tensor yet."""
    fresh(execute, HEADER + script, seconds=120)


@compiled
def test_a_freed_tensor_s_memory_is_the_next_one_s():
    script = """
x = torch.zeros(2**20)
place = x.data_ptr()
del x
assert torch.empty(2**20).data_ptr() == place
assert torch.empty(2**20 - 1000).data_ptr() == place, "for one that is a little smaller, too"
assert torch.empty(2**20 + 2**18).data_ptr() != place
"""
    run(script)


@compiled
def test_what_waits_is_bounded_by_what_was_needed():
    script = """
import random
random.seed(0)
live = []
for _ in range(3000):
    if len(live) > 8:
        live.pop(random.randrange(len(live)))
    live.append(torch.empty(random.randrange(20_000, 2_000_000)))
    held = report_memory()
    assert held.used + held.waiting <= held.most + min(held.most // 2, 2**27), held
    assert all(x.data_ptr() % 64 == 0 for x in live)
most = held.most
live.clear()
held = report_memory()
assert held.used == 0 and held.most == most, held
"""
    run(script)


@compiled
def test_near_the_limit_a_larger_block_serves_before_a_new_one_is_fetched():
    script = """
large = [torch.zeros(3 * 2**20) for _ in range(30)]  # 12 MiB each
places = {x.data_ptr() for x in large}
large.clear()
small = [torch.zeros(2**20) for _ in range(50)]  # 4 MiB each, and there is room for 45 new ones
assert sum(x.data_ptr() in places for x in small) >= 5
held = report_memory()
assert held.used + held.waiting <= 1.5 * held.most, held
assert all((x == 0).all() for x in small)
"""
    run(script)


@compiled
def test_tensors_keep_their_numbers_while_others_come_and_go():
    script = """
import threading
def work(seed):
    for step in range(200):
        xs = [torch.full((20_000 + 1000 * seed + step * 37,), float(seed)) for _ in range(4)]
        assert all((x == seed).all() for x in xs)
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    run(script)


@compiled
def test_tensors_of_before_empty_ones_grown_ones_and_the_end_of_the_process():
    script = """
import numpy, torch
from trifold.native.memory import keep_memory
before = [torch.ones(2**18) for _ in range(3)]
assert keep_memory()
x = torch.empty(0)
x.resize_(2**20).fill_(1.0)
assert x.sum() == 2**20
del before
y = torch.from_numpy(numpy.ones(2**18))
torch.zeros(2**18).numpy()[:] = 1.0
kept_until_the_end = torch.ones(2**20)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@compiled
def test_too_much_is_refused_in_torch_s_own_words():
    script = """
try:
    torch.empty(2**50)
except RuntimeError as error:
    said = str(error)
assert "can't allocate memory" in said
"""
    run(script)


def test_in_large_pages_numbers_stay_and_what_was_shared_is_shared():
    torch.manual_seed(0)
    model = torch.nn.ModuleList(
        [torch.nn.Linear(300, 700), torch.nn.Linear(300, 700), torch.nn.Linear(3, 3)]
    ).bfloat16()
    model[1].weight = model[0].weight
    turned = torch.randn(500, 400).t()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    places = model[2].weight.data_ptr(), turned.data_ptr()
    enlarge_pages([*model.parameters(), model[0].weight, turned])
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert model[1].weight.data_ptr() == model[0].weight.data_ptr()
    assert places == (model[2].weight.data_ptr(), turned.data_ptr()), "small ones and turned ones stay"
    model[0].weight.data.zero_()
    assert not model[1].weight.any()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what its pages are")
def test_large_pages_are_asked_for():
    one = torch.ones(2**22)
    enlarge_pages([one])
    begin, found = one.data_ptr(), False
    for line in Path("/proc/self/smaps").read_text("utf-8").splitlines():
        first, _, rest = line.partition(" ")
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            found = start <= begin < end
        if found and first == "VmFlags:":
            assert "hg" in rest.split()
            return
    raise AssertionError("its memory is not there")
