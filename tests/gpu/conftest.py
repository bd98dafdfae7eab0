"""The device of these tests: CUDA, or in a rehearsal a second device that stands in for it (see `second_device`)."""

import os
from collections.abc import Iterator

import pytest
import torch

from tests.second_device import open_second_device
from trifold.training import plan, precision, trainer

REHEARSAL = "TRIFOLD_GPU_REHEARSAL"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them need the device."""
    for item in items:
        if item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Where the tests compute; trainers take it as `auto`."""
    if torch.cuda.is_available():
        yield torch.device("cuda", torch.cuda.current_device())
        return
    if not os.environ.get(REHEARSAL):
        pytest.skip(f"there is no CUDA device; {REHEARSAL}=1 tries the tests without one")
    there = open_second_device()

    def choose_device(name: str) -> torch.device:
        return torch.device("cpu") if name == "cpu" else there

    for module in (plan, trainer):
        monkeypatch.setattr(module, precision.choose_device.__name__, choose_device)
    yield there
