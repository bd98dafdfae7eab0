"""Tests that test the tests: each fault of the lists, written into a copy of the sources, must make one fail."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import trifold
from trifold.native.product import load_products

HERE, SOURCE = Path(__file__).parent, Path(trifold.__file__).parent
TESTS = HERE.parent
SURVIVORS: frozenset[str] = frozenset()
"""Numeric faults that no test notices, with the reason beside them; at most 3 in 100."""

MUTANTS = {
    kind: tomllib.loads((HERE / f"{kind}.toml").read_text(encoding="utf-8"))["mutant"] for kind in ("resume", "numeric")
}
ALL = [(kind, one) for kind, found in MUTANTS.items() for one in found]


def mutated(one: dict, folder: Path) -> Path:
    """A copy of the sources with the fault."""
    copy = folder / "trifold"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / one["file"]).write_text(changed(one), encoding="utf-8")
    return folder


def changed(one: dict) -> str:
    """The file with the fault, whose code must stand there once."""
    text = (SOURCE / one["file"]).read_text(encoding="utf-8")
    assert text.count(one["old"]) == 1, f"{one['name']}: the code is no longer as the list has it"
    return text.replace(one["old"], one["new"])


def run(folder: Path, tests: list[str]) -> int:
    """The exit code of these tests, with the sources of that folder."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", "not slow",
             "-W", "ignore:The compiled",  # kernels that are found wrong are left out: a test must say that they are
             "--override-ini=addopts=", *(str(TESTS / one) for one in tests)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{TESTS.parent}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        words, cwd=TESTS.parent, env=environment, capture_output=True, timeout=600, check=False
    ).returncode


def test_the_lists_are_long_enough_and_name_code_that_is_there():
    assert len(MUTANTS["resume"]) >= 20 and len(MUTANTS["numeric"]) >= 30
    assert len(SURVIVORS) <= 0.03 * len(MUTANTS["numeric"])
    assert all(one["new"] in changed(one) for _, one in ALL)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "one"), ALL, ids=[f"{kind}-{one['name']}" for kind, one in ALL])
def test_a23_g13_every_fault_is_noticed(tmp_path, kind, one):
    if one.get("matrix_unit") and load_products() is None:
        pytest.skip("no matrix unit, without which this code does not run")
    noticed = run(mutated(one, tmp_path), one["tests"]) == 1
    assert noticed != (one["name"] in SURVIVORS), (
        "no test noticed" if not noticed else "it is noticed: take it off the list"
    )
