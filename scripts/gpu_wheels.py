"""The wheels that `gpu.sh` carries to a machine without a network: what Trifold and its tests need beside torch.

    python scripts/gpu_wheels.py [--python 3.12] [--out build/gpu/wheels] [--list]

Versions are those that are installed here, in wheels for Linux on x86-64.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOTS = ("trifold", "pytest", "beartype", "transformers", "accelerate")
LEFT = {"trifold", "torch"}
"""Trifold runs from the checkout, torch is there."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def wheels(roots: Iterable[str]) -> dict[str, str]:
    """Version by name of all that these need, directly or not."""
    found: dict[str, str] = {}
    waiting, seen = list(roots), set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        if name == "torch":
            continue
        there = metadata.distribution(name)
        found |= {} if name in LEFT else {name: there.version}
        needs = map(Requirement, there.requires or ())
        waiting += [one.name for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})]
    return dict(sorted(found.items()))


def main() -> int:
    """Download them, or list them."""
    parser = argparse.ArgumentParser(description="wheels for a machine without a network")
    parser.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}")
    parser.add_argument("--out", type=Path, default=Path("build/gpu/wheels"))
    parser.add_argument("--list", action="store_true", help="only say what they are")
    options = parser.parse_args()
    wanted = [f"{name}=={version}" for name, version in wheels(ROOTS).items()]
    if options.list:
        sys.stdout.write("\n".join(wanted) + "\n")
        return 0
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    return subprocess.call([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--dest",
                            str(options.out), "--python-version", options.python, *platforms, *wanted])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
