"""Build the wheel twice, compare the two byte by byte, and list its components (CycloneDX).

python scripts/release.py
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "dist"
BUILD = ("-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--quiet", "--disable-pip-version-check", "--wheel-dir")


def build(folder: Path) -> Path:
    """One wheel, dated as the newest commit, from a copy of what is committed."""
    commit = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True)
    source = folder / "source"
    source.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "x", "-C", str(source)], check=True, input=archive.stdout)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": commit.stdout.strip()}
    subprocess.run([sys.executable, *BUILD, str(folder), str(source)], check=True, env=environment)
    return next(folder.glob("*.whl"))


def components(name: str, seen: dict[str, dict]) -> dict[str, dict]:
    """A distribution and all that it requires without extras, as CycloneDX components."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return seen
    key = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    if key in seen:
        return seen
    said = found.metadata.get("License-Expression") or found.metadata.get("License") or "unknown"
    seen[key] = {"type": "library", "name": key, "version": found.version, "purl": f"pkg:pypi/{key}@{found.version}",
                 "licenses": [{"license": {"name": said.splitlines()[0][:80]}}]}  # fmt: skip
    for requirement in found.requires or []:
        if "extra ==" not in requirement:
            components(re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0], seen)
    return seen


def main() -> int:
    """Write `dist/`; 1 where the two wheels differ."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        wheels = [build(Path(place) / name) for name in ("one", "two")]
        hashes = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels]
        shutil.copy(wheels[0], OUT)
        name = wheels[0].name
    found = sorted(components("trifold", {}).values(), key=lambda one: one["name"])
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": found}
    (OUT / "sbom.json").write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    (OUT / f"{name}.sha256").write_text(f"{hashes[0]}  {name}\n", encoding="utf-8")
    sys.stdout.write(f"{name} {hashes[0]}\n{len(found)} components in sbom.json\n")
    if hashes[0] != hashes[1]:
        sys.stdout.write("The two wheels differ.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
