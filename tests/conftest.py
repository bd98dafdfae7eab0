"""What every test may rely on: no network, one thread, the same dice, and the folder with real data."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRIFOLD_LANG"] = "en"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from tests.shape_checker import ALL, FIRST, check_calls  # the module is named by --jaxtyping-packages

torch.set_num_threads(1)  # the models are tiny: more threads only wait for each other


LONGEST = ("test_tasks", "test_distributed", "test_saving", "test_tokenizer", "test_doctor", "test_kill", "test_training",
           "test_elsewhere", "test_pickled", "test_config_fields", "test_acceleration")  # fmt: skip
"""Files that take longest, in this order: with two workers none of them may come last."""
WHOLE = {"applications", "docs", "faults"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shapes", choices=("first", "all"), default="first", help="which calls of a test are checked")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file that takes long before one that does not, so that no worker waits alone for another."""

    def place(item: pytest.Item) -> tuple[int, bool]:
        name = item.path.stem
        return LONGEST.index(name) if name in LONGEST else len(LONGEST), WHOLE.isdisjoint(item.path.parts)

    items.sort(key=place)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    check_calls(ALL if item.config.getoption("--shapes") == "all" else FIRST)


@pytest.fixture(autouse=True)
def _same_dice() -> None:
    torch.default_generator.manual_seed(
        0
    )  # torch.manual_seed asks every kind of device, for each of thousands of tests
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)


@pytest.fixture
def data_dir() -> Path:
    """The folder with real data that TRIFOLD_DATA names; the test is skipped where there is none."""
    folder = os.environ.get("TRIFOLD_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TRIFOLD_DATA does not name a folder")
    return Path(folder)
