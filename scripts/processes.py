"""Measure what several processes cost and give on this machine, and write it into `docs/distributed.md`.

python scripts/processes.py memory     # the peak of each process, alone, with --parallel ddp, with fsdp
python scripts/processes.py speed      # tokens per second of the same step, shared by more processes; no other work, please
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "distributed.md"
COMMON = ["--kind", "byte_bpe", "--vocab-size", "300", "--document", "line", "--training.log_every", "1",
          "--training.evaluate_every", "0", "--training.accumulation", "4", "--optimizer", "adamw"]  # fmt: skip
SMALL = ["--preset", "gpt2", "--size", "base", "--length", "128", "--batch-size", "1", "--steps", "2", *COMMON]
MINI = ["--preset", "gpt2", "--size", "mini", "--length", "256", "--batch-size", "8", "--steps", "12", *COMMON]
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "off", "to", "see", "the", "sun"]
ROUNDS, WARM = 3, 2
MIB = 2**10


def train(folder: Path, words: list[str], processes: int, threads: int) -> tuple[list[int], list[float]]:
    """KiB that each process had at its peak, and tokens per second of each step."""
    out = folder / f"run-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "trifold", "pretrain", "--data", str(folder / "text.txt"), "--out", str(out), *words,
               "--processes", str(processes), "--json"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peaks: dict[int, int] = {}
    while running.poll() is None:
        for pid in ranks(running.pid, processes):
            peaks[pid] = max(peaks.get(pid, 0), peak(pid))
        time.sleep(0.02)
    assert running.returncode == 0
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return sorted(peaks.values()), [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]


def ranks(pid: int, processes: int) -> list[int]:
    """The processes that train: the one that was started, or its children."""
    if processes == 1:
        return [pid]
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def peak(pid: int) -> int:
    """KiB that a process has had in memory at most."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def memory(folder: Path) -> list[str]:
    """A row for each number of processes."""
    cases = [(1, "ddp"), (2, "ddp"), (2, "fsdp"), (4, "ddp"), (4, "fsdp")]
    rows, alone = [], 0
    for processes, parallel in cases:
        peaks, _ = train(folder, [*SMALL, "--parallel", parallel], processes, 1)
        alone = alone or peaks[-1]
        name = "alone" if processes == 1 else f"{processes}, `{parallel}`"
        rows.append(f"| {name} | {peaks[0] / MIB:,.0f} to {peaks[-1] / MIB:,.0f} | {peaks[-1] / alone:.2f} |")
        sys.stderr.write(f"{rows[-1]}\n")
    return ["| processes | MiB in each, at its peak | of one alone |", "|---|---|---|", *rows]


def speed(folder: Path) -> list[str]:
    """A row for each way to use two cores, measured in turns."""
    cases = {(1, 1, "ddp"): [], (1, 2, "ddp"): [], (2, 1, "ddp"): [], (2, 1, "fsdp"): []}
    for _ in range(ROUNDS):
        for (processes, threads, parallel), found in cases.items():
            _, speeds = train(folder, [*MINI, "--parallel", parallel], processes, threads)
            found.append(statistics.median(speeds[WARM:]))
            sys.stderr.write(f"{processes} {threads} {parallel} {found[-1]:,.0f}\n")
    first = next(iter(cases.values()))
    rows = []
    for (processes, threads, parallel), found in cases.items():
        ratios = [one / base for one, base in zip(found, first, strict=True)]
        name = f"{processes}" + (f", `{parallel}`" if processes > 1 else "")
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        rows.append(
            f"| {name} | {threads} | {statistics.median(found):,.0f} | {statistics.median(ratios):.2f} ({spread}) |"
        )
    return ["| processes | threads each | tokens/s | of one process with one thread |", "|---|---|---|---|", *rows]


def main() -> None:
    """Measure what is asked for, and put it in the place of the page that waits for it."""
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            lines = (" ".join(WORDS[(i * 7 + j * 3) % len(WORDS)] for j in range(9)) for i in range(20_000))
            (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
            table = "\n".join({"memory": memory, "speed": speed}[name](folder))
        mark, text = f"<!-- {name} -->", PAGE.read_text(encoding="utf-8")
        before, _, after = text.split(mark)
        PAGE.write_text(f"{before}{mark}\n{table}\n{mark}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
