"""What older processors compute: every kernel is right there, and the losses on record are theirs too."""

import subprocess
import sys

import pytest

from tests.instruction_sets import environment, present
from trifold.errors import ConfigError
from trifold.native.processor import compiler_flags, has_matrix_unit, multiplies_bfloat16

CHILD = """
import json, sys, tempfile, warnings
from pathlib import Path

warnings.simplefilter("error")  # a kernel that is left out says so
import torch
from tests.golden.test_losses import RECORD, losses
from trifold.generation.kernel import load_kernel
from trifold.generation.linear import RoundedLinear
from trifold.native import load_passes, load_products, multiplies_int8

found = load_kernel(), load_passes(), load_products()
assert multiplies_int8() == (sys.argv[1] == "avx512_bf16"), "only VNNI multiplies whole numbers without running over"
torch.manual_seed(0)
plain, x = torch.nn.Linear(512, 64), torch.randn(70, 512)
near = RoundedLinear(plain.bfloat16())(x.bfloat16()).float()
torch.testing.assert_close(near, plain.float()(x), rtol=0.05, atol=0.05)
with tempfile.TemporaryDirectory() as folder:
    made = losses("causal", Path(folder))
wanted = json.loads(RECORD.read_text(encoding="utf-8"))["causal"]
assert len(made) == 20 and max(abs(one - other) for one, other in zip(made, wanted, strict=True)) < 1e-6
print(torch.backends.cpu.get_cpu_capability())
"""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "avx2" else pytest.mark.slow) for name in present()]
)
def test_under_an_older_instruction_set_kernels_and_losses_are_the_same(name):
    done = subprocess.run([sys.executable, "-c", CHILD, name], env=environment(name), capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == name.removesuffix("_bf16").upper()


def test_the_setting_keeps_our_kernels_to_a_set(monkeypatch):
    monkeypatch.delenv("TRIFOLD_ISA", raising=False)
    assert compiler_flags() == ("-march=native",)
    monkeypatch.setenv("TRIFOLD_ISA", "avx2")
    assert compiler_flags() == ("-march=x86-64-v3",)
    assert not has_matrix_unit() and not multiplies_bfloat16()


def test_a_set_that_nobody_knows_is_refused_with_those_that_are_known(monkeypatch):
    monkeypatch.setenv("TRIFOLD_ISA", "mmx")
    with pytest.raises(ConfigError, match="'mmx'.*default, avx2, avx512, avx512_bf16"):
        compiler_flags()
