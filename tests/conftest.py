"""What every test may rely on: no network, one thread, the same dice, and the folder with real data.

The annotated shapes of every call are checked while the parts are tested. Tests of the whole program train for thousands of
steps, of which two thirds would be this checking: they do without, unless `--shapes all` is given (`make test-all` does).
"""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRIFOLD_LANG"] = "en"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from jaxtyping import config

import tests.shape_checker  # noqa: F401 - named by --jaxtyping-packages

torch.set_num_threads(1)  # the models are tiny: more threads only wait for each other

WHOLE = {"applications", "docs", "faults", "golden"}
"""Folders of tests of the whole program."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shapes", choices=("parts", "all"), default="parts", help="where shapes of calls are checked")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    quick = item.config.getoption("--shapes") == "parts"
    config.update("jaxtyping_disable", quick and not WHOLE.isdisjoint(item.path.parts))


@pytest.fixture(autouse=True)
def _same_dice() -> None:
    torch.manual_seed(0)


@pytest.fixture
def data_dir() -> Path:
    """The folder with real data that TRIFOLD_DATA names; the test is skipped where there is none."""
    folder = os.environ.get("TRIFOLD_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TRIFOLD_DATA does not name a folder")
    return Path(folder)
