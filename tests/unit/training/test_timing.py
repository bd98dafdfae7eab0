"""How long a step takes, on a machine that does other work too."""

from itertools import chain, repeat

import pytest
import torch

from tests.unit.training.test_forecast import experiment
from trifold.training import timing
from trifold.training.prepare import shape_of
from trifold.training.timing import STEPS, StepTime, places_of, time_step


class Clock:
    """A fake clock for `time` of the module: each reading is later by what a step takes of it, once a step."""

    def __init__(self, wall: float, led: float, alone: float) -> None:
        self.passing = {"perf_counter": wall, "thread_time": led, "process_time": alone}
        self.read = dict.fromkeys(self.passing, 0)

    def __getattr__(self, name: str):
        def reading() -> float:
            self.read[name] += 1
            return self.passing[name] * (self.read[name] // 2)

        return reading


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def timed(monkeypatch, wall: float, led: float, alone: float = 0.0) -> StepTime:
    asked = experiment(steps=1)
    shape = shape_of(asked)
    monkeypatch.setattr(timing, "time", Clock(wall, led, alone))
    return time_step(asked, shape, places_of(asked, shape))


def test_on_a_free_machine_the_clock_is_believed(monkeypatch, two_threads):
    found = timed(monkeypatch, wall=0.4, led=0.39)
    assert found == StepTime(pytest.approx(0.4), pytest.approx(0.4)) and not found.busy


def test_beside_other_work_the_processor_s_time_of_one_thread_is_believed(monkeypatch, two_threads):
    found = timed(monkeypatch, wall=6.0, led=1.7, alone=0.64)  # as measured on two cores with a load of 7
    assert found == StepTime(pytest.approx(0.64 / timing.GAIN), pytest.approx(6.0)) and found.busy
    assert torch.get_num_threads() == 2


def test_one_thread_that_waits_is_believed_its_own_time_of_the_processor(monkeypatch):
    assert timed(monkeypatch, wall=2.0, led=0.5) == StepTime(pytest.approx(0.5), pytest.approx(2.0))


def test_steps_that_take_long_are_timed_less_often(monkeypatch):
    ticks = chain([0.0, 10.0], repeat(10.0))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    walls, used = timing._repeat(iter(range(99)), STEPS, lambda: 0.0)
    assert walls == [10.0] and used == [0.0]
    monkeypatch.undo()
    assert len(timing._repeat(iter(range(99)), STEPS, lambda: 0.0)[0]) == STEPS
