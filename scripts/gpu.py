"""What a machine with a CUDA device says of Trifold, in at most eight minutes and without a network: tests, then speed.

    make gpu                                 or: bash scripts/gpu.sh [--nanogpt PATH] [--minutes 8]
    python scripts/gpu.py --rehearse         the same code on the CPU, at sizes that say nothing

Each part is a process of its own with a limit of time, so that one that hangs or crashes costs its own result only. What is
known so far stands in `gpu.json` after every part; `gpu.md` is its page (`gpu_page.py`).
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TESTS = ("-m", "pytest", "tests/gpu", "-m", "gpu", "-o", "filterwarnings=", "-p", "no:cacheprovider", "-p", "no:xdist",
         "--tb=short", "-rf")  # fmt: skip
FEW = ("-k", "bfloat16_is_near or does_not_fit or is_not_asked")
"""The tests of a rehearsal."""
LEAST = 15.0
"""Seconds without which no part is begun."""
SPARE = 5.0
"""Seconds kept for writing down what was found."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that is tried or measured.

    Attributes:
        limit: seconds that it may take.
        needs: modules without which it is left out.
        side: which function of `gpu_sides` measures it, with what; None for the tests.
    """

    limit: float
    side: tuple[str, Mapping[str, Any]] | None = None
    needs: tuple[str, ...] = ()
    command: tuple[str, ...] = field(default=())


def _side(seconds: float, function: str, *needs: str, **given: Any) -> Part:
    return Part(limit=seconds, side=(function, given), needs=needs)


PARTS: dict[str, Part] = {
    "machine": _side(45, "machine"),
    "limit": _side(45, "limit"),
    "tests": Part(limit=170, command=TESTS, needs=("pytest", "beartype", "jaxtyping")),
    "gpt2 trifold": _side(60, "train_trifold"),
    "gpt2 trifold compiled": _side(110, "train_trifold", "triton", compiled=True),
    "gpt2 reference compiled": _side(90, "train_reference", "triton"),
    "gpt2 transformers": _side(60, "train_transformers", "transformers", "accelerate"),
    "decode 1 trifold": _side(40, "decode_trifold", batch=1),
    "decode 1 transformers": _side(40, "decode_transformers", "transformers", batch=1),
    "decode 32 trifold": _side(40, "decode_trifold", batch=32),
    "decode 32 transformers": _side(40, "decode_transformers", "transformers", batch=32),
    "bert trifold": _side(60, "train_trifold", model="bert"),
    "bert transformers": _side(60, "train_transformers", "transformers", "accelerate", model="bert"),
    "attention": _side(40, "attention"),
    "gpt2 trifold packed": _side(60, "train_trifold", documents=4),
    "bert trifold compiled": _side(90, "train_trifold", "triton", model="bert", compiled=True),
    "decode 256 trifold": _side(40, "decode_trifold", batch=256),
    "decode 256 transformers": _side(40, "decode_transformers", "transformers", batch=256),
}
"""In the order in which they are tried: what matters most comes first."""


def run(command: Sequence[str], limit: float, environment: Mapping[str, str], log: Path) -> str:
    """Run a process to its end or its limit; how it ended: `ok`, `failed (code)`, `killed (signal)` or `too slow`."""
    with log.open("w", encoding="utf-8") as said:
        try:
            code = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, stdout=said, timeout=limit,
                                  stderr=subprocess.STDOUT, check=False).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"too slow ({limit:.0f} s)"
    return "ok" if code == 0 else f"failed ({code})" if code > 0 else f"killed (signal {-code})"


def tell(log: Path) -> dict[str, Any]:
    """What pytest counted, and which tests failed."""
    text = log.read_text(encoding="utf-8", errors="replace")
    last = [line for line in text.splitlines() if re.search(r"\d+ (passed|failed|error|skipped)", line)][-1:]
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|error|skipped)", "".join(last))}
    return {"tests": counts, "failed": re.findall(r"^FAILED (\S+)", text, re.MULTILINE)}


def attempt(name: str, part: Part, options: argparse.Namespace, left: float) -> dict[str, Any]:
    """Try one part in a process of its own; its figures, or why there are none."""
    if left < LEAST:
        return {"outcome": "left out: no time"}
    place, log = options.out / "part.json", options.out / f"{name.replace(' ', '-')}.log"
    place.unlink(missing_ok=True)
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [f"{ROOT}/src", os.environ.get("PYTHONPATH")])),
                   "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRIFOLD_LANG": "en"}  # fmt: skip
    if options.rehearse:
        environment["TRIFOLD_GPU_REHEARSAL"] = "1"
    given = ["--out", str(options.out), *(["--rehearse"] if options.rehearse else []),
             *(["--nanogpt", options.nanogpt] if options.nanogpt else [])]  # fmt: skip
    command = (
        [*part.command, *(FEW if options.rehearse else ())] if part.command else [__file__, "--part", name, *given]
    )
    outcome = run([sys.executable, *command], min(part.limit, left), environment, log)
    found = tell(log) if part.command else json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    if outcome != "ok":
        found["said"] = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    return {"outcome": outcome, **found}


def scale_of(options: argparse.Namespace) -> Any:
    """How much is measured."""
    from gpu_sides import TINY, Scale

    return TINY if options.rehearse else replace(Scale(), nanogpt=options.nanogpt)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one part, in this process."""
    import gpu_sides

    assert PARTS[name].side is not None, f"{name} has no side"
    function, given = PARTS[name].side
    side: Callable[..., dict[str, Any]] = partial(getattr(gpu_sides, function), **given)
    return side(scale_of(options))


def main() -> int:
    """Try all parts, and write down what each gave."""
    options = read_options()
    options.out.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(ROOT / "src"))  # Trifold is that of the checkout, installed or not
    if options.part:
        found = measure(options.part, options)
        (options.out / "part.json").write_text(json.dumps(found), encoding="utf-8")
        return 0
    import torch
    from gpu_page import write_page

    if not options.rehearse and not torch.cuda.is_available():
        say("There is no CUDA device here. Try the script without one: python scripts/gpu.py --rehearse")
        return 2
    start = time.monotonic()
    facts = {"date": datetime.now(UTC).date().isoformat(), "rehearsal": options.rehearse, "minutes": options.minutes}
    results: dict[str, Any] = {"facts": facts, "parts": {}}
    for name, part in PARTS.items():
        begun = time.monotonic()
        left = 60.0 * options.minutes - SPARE - (begun - start)
        missing = [module for module in part.needs if importlib.util.find_spec(module) is None]
        if missing:
            found = {"outcome": f"left out: {', '.join(missing)} not installed"}
        elif options.rehearse and part.side and not options.apart:
            found = {"outcome": "ok", **measure(name, options)}
        else:
            found = attempt(name, part, options, left)
        results["parts"][name] = {**found, "seconds": round(time.monotonic() - begun, 1)}
        say(f"{time.monotonic() - start:5.0f} s  {name}: {brief(found)}")
        (options.out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_page(results, options.out / "gpu.md")
    say(f"{options.out / 'gpu.json'}, {options.out / 'gpu.md'}")
    tests = results["parts"]["tests"]["outcome"]
    return 0 if tests == "ok" or tests.startswith("left out") else 1


def say(line: str) -> None:
    """Tell how far it is, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def brief(found: Mapping[str, Any]) -> str:
    """One line of figures."""
    shown = {key: f"{value:,.4g}" if isinstance(value, float) else value for key, value in found.items()
             if key not in ("outcome", "said")}  # fmt: skip
    return " ".join(
        [found["outcome"], *(f"{key}={value}" for key, value in shown.items()), *found.get("said", ())[-1:]]
    )


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="tests and speed on a CUDA device")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or ROOT / "build" / "gpu"))
    parser.add_argument("--minutes", type=float, default=8.0, help="most time that all of it may take")
    parser.add_argument("--nanogpt", default=os.environ.get("NANOGPT"), help="a checkout of nanoGPT")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at tiny sizes")
    parser.add_argument("--apart", action="store_true", help="also in a rehearsal, a process for each part")
    parser.add_argument("--part", choices=PARTS, help="measure this part alone, in this process")
    options = parser.parse_args()
    options.out = options.out.absolute()
    return options


if __name__ == "__main__":
    sys.exit(main())
