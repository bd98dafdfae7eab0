"""`make gpu` before there is a device: each side runs on the CPU, a part that hangs costs itself alone, a page says all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scripts(monkeypatch):
    """The scripts can be imported, as they are from their own folder."""
    monkeypatch.syspath_prepend(ROOT / "scripts")


SIDES = {
    "machine": {}, "limit": {}, "attention": {}, "train_reference": {}, "train_trifold": {"documents": 4},
    "decode_trifold": {"batch": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", SIDES)
def test_each_side_gives_figures(name, scripts):
    import gpu_sides

    found = getattr(gpu_sides, name)(gpu_sides.TINY, **SIDES[name])
    assert found and json.loads(json.dumps(found)) == found
    assert all(value > 0 for value in found.values() if isinstance(value, float))


def test_masked_rows_are_packed_and_few_places_have_a_label(scripts):
    import gpu_sides

    batch = gpu_sides.masked_batch(gpu_sides.Scale())
    assert batch.source.shape == (64, 512) and batch.source_layout.documents.amax() == 4
    assert 0.1 < batch.num_targets / batch.source.numel() < 0.2
    share = gpu_sides.flops_of(gpu_sides.Scale(), length=1024)
    assert share == pytest.approx(6 * 124e6 + 12 * 12 * 768 * 1024, rel=0.01), "GPT-2 has 124 million weights"


def test_a_part_that_hangs_crashes_or_fails_costs_itself_alone(scripts, tmp_path):
    import gpu

    bodies = {"import time; time.sleep(60)": "too slow (1 s)", "import os; os.abort()": "killed (signal 6)",
              "raise SystemExit(3)": "failed (3)", "print('done')": "ok"}  # fmt: skip
    for body, outcome in bodies.items():
        limit = 1.0 if "sleep" in body else 30.0
        assert gpu.run([sys.executable, "-S", "-c", body], limit, {}, tmp_path / "log") == outcome
    (tmp_path / "log").write_text("FAILED tests/gpu/test_a.py::test_b - no\n1 failed, 2 passed, 3 skipped in 4s\n")
    assert gpu.tell(tmp_path / "log") == {"tests": {"failed": 1, "passed": 2, "skipped": 3},
                                          "failed": ["tests/gpu/test_a.py::test_b"]}  # fmt: skip
    assert sum(part.limit for name, part in gpu.PARTS.items() if name in ("machine", "limit", "tests")) < 280


def test_the_page_has_every_figure_and_what_was_left_out(scripts):
    import gpu_page

    parts = {
        "machine": {"outcome": "ok", "device": "Some GPU", "torch": "2.11", "python": "3.12"},
        "limit": {"outcome": "ok", "bfloat16_flops": 8e14, "float32_flops": 5e13, "read_bytes": 4e12},
        "tests": {
            "outcome": "failed (1)",
            "tests": {"passed": 7, "failed": 1},
            "failed": ["test_x"],
            "said": ["1 failed"],
        },
        "gpt2 trifold": {"outcome": "ok", "tokens_per_second": 5e5, "flops": 4.4e14, "peak_bytes": 2**34},
        "gpt2 reference compiled": {"outcome": "ok", "tokens_per_second": 4e5, "flops": 3.6e14, "note": "no checkout"},
        "gpt2 transformers": {"outcome": "left out: transformers not installed"},
        "decode 1 trifold": {"outcome": "ok", "tokens_per_second": 300.0, "read_bytes": 1e11},
        "attention": {"outcome": "ok", "kernel": True, "mask_ms": 2.0, "chosen_ms": 0.5},
    }
    page = gpu_page.page_of({"facts": {"date": "2026-12-01", "rehearsal": False}, "parts": parts})
    for wanted in ("Some GPU", "800.0 TFLOP/s", "1 failed", "test_x", "| 500,000 |", "| 1.25 | 45% |", "55%", "16.0 GiB",
                   "transformers not installed", "| 1 | 300 |", "0.50 ms", "no checkout"):  # fmt: skip
        assert wanted in page, wanted
    assert "rehearsal" not in page


def test_the_wheels_are_all_that_is_needed_beside_torch(scripts):
    import gpu_wheels

    names = gpu_wheels.wheels(gpu_wheels.ROOTS)
    assert {"numpy", "tokenizers", "pytest", "beartype", "jaxtyping", "regex"} <= names.keys()
    assert not {"torch", "trifold", "sympy"} & names.keys()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="with a device there is nothing to rehearse")
def test_all_of_it_is_rehearsed(tmp_path):
    command = [sys.executable, "scripts/gpu.py", "--rehearse", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["parts"]
    wrong = {name: found for name, found in parts.items() if not found["outcome"].startswith(("ok", "left out: "))}
    assert not wrong and parts["tests"]["tests"]["passed"] > 10
    assert "A rehearsal" in (tmp_path / "gpu.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the tests themselves run on the device")
def test_the_tests_of_a_device_pass_on_the_stand_in():
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "TRIFOLD_GPU_REHEARSAL": "1"}, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0 and "failed" not in done.stdout, done.stdout[-3000:]
