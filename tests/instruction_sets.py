"""The numeric tests under each instruction set that this processor has, so that one machine stands for older ones.

python -m tests.instruction_sets [SET ...]    # what `make test-isa` runs; without names, every set that is here
"""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
NUMERIC = ("tests/golden", "tests/parity", "tests/property", "tests/unit/native", "tests/unit/generation",
           "tests/unit/objective", "tests/unit/training")  # fmt: skip
SETS = {  # of torch's own loops, of oneDNN, of MKL and of our kernels
    "default": ("default", "SSE41", "SSE4_2", "default"),
    "avx2": ("avx2", "AVX2", "AVX2", "avx2"),
    "avx512": ("avx512", "AVX512_CORE", "AVX512", "avx512"),
    "avx512_bf16": ("avx512", "AVX512_CORE_BF16", "AVX512", "avx512_bf16"),
}
VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "TRIFOLD_ISA")


def present() -> list[str]:
    """Which sets this processor has, the oldest first."""
    cpu = torch.cpu
    has = {
        "default": True,
        "avx2": cpu._is_avx2_supported(),
        "avx512": cpu._is_avx512_supported(),
        "avx512_bf16": cpu._is_avx512_bf16_supported(),
    }
    return [name for name in SETS if has[name]]


def environment(name: str) -> dict[str, str]:
    """Variables that keep a process to a set."""
    return {**os.environ, **dict(zip(VARIABLES, SETS[name], strict=True))}


def main(*names: str) -> int:
    """Run the numeric tests under each; the number of sets under which one failed."""
    failed = []
    for name in names or present():
        words = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "auto",
            "--dist",
            "loadfile",
            "-m",
            "not slow and not gpu",
            *NUMERIC,
        ]
        sys.stdout.write(f"{name}: {' '.join(map('='.join, zip(VARIABLES, SETS[name], strict=True)))}\n")
        sys.stdout.flush()
        failed += [name] if subprocess.run(words, cwd=ROOT, env=environment(name), check=False).returncode else []
    sys.stdout.write(f"red under: {', '.join(failed)}\n" if failed else "green under each\n")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
