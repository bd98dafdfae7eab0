"""Print constraints that pin every run-time dependency to its lower bound: `pip install -c`.

torch is left at what its range gives: its wheels are the machine's own choice.
"""

import re
import sys
import tomllib
from pathlib import Path

data = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
for requirement in data["project"]["dependencies"]:
    found = re.match(r"([\w.-]+)>=([\w.]+)", requirement)
    if found and found[1] != "torch":
        sys.stdout.write(f"{found[1]}=={found[2]}\n")
