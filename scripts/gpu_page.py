"""The page of what `gpu.py` found: `python scripts/gpu_page.py build/gpu/gpu.json > page.md`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Parts = Mapping[str, Mapping[str, Any]]
AIM = 0.5
"""The share of the measured matrix rate that training is to reach."""


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page."""
    path.write_text(page_of(results), encoding="utf-8")


def page_of(results: Mapping[str, Any]) -> str:
    """Tables of all parts, with what was left out and why."""
    parts, facts = results["parts"], results["facts"]
    lines = ["# On a CUDA device", "", _opening(parts, facts), "", *_tests(parts), *_training(parts), *_decoding(parts)]
    lines += [*_attention(parts), *_missing(parts)]
    return "\n".join(lines).rstrip() + "\n"


def _opening(parts: Parts, facts: Mapping[str, Any]) -> str:
    here, limit = parts.get("machine", {}), parts.get("limit", {})
    where = f"{here.get('device', 'CPU')}, torch {here.get('torch', '?')}, Python {here.get('python', '?')}"
    lean, exact = (_tera(limit.get(f"{kind}_flops")) for kind in ("bfloat16", "float32"))
    best = f"; measured limit: {lean} in bfloat16, {exact} in float32"
    rehearsal = "**A rehearsal on the CPU: the figures say nothing.** " if facts["rehearsal"] else ""
    return f"{rehearsal}`make gpu`; {where}, {facts['date']}{best if limit.get('outcome') == 'ok' else ''}."


def _tera(rate: float | None) -> str:
    return "?" if rate is None else f"{rate / 1e12:,.1f} TFLOP/s"


def _tests(parts: Parts) -> list[str]:
    found = parts.get("tests", {})
    counts = ", ".join(f"{count} {kind}" for kind, count in found.get("tests", {}).items()) or "no counts"
    failed = [f"* failed: `{name}`" for name in found.get("failed", ())]
    return ["## Tests", "", f"{found.get('outcome', 'not run')}: {counts}.", "", *failed, *([""] if failed else [])]


def _training(parts: Parts) -> list[str]:
    lines = []
    for model, title in (("gpt2", "GPT-2 of 124 M at a context of 1,024"), ("bert", "BERT base, masked, rows of 512")):
        named = {
            name: found for name, found in parts.items() if name.startswith(f"{model} ") and found["outcome"] == "ok"
        }
        if not named:
            continue
        ours = max((one["tokens_per_second"] for name, one in named.items() if "trifold" in name), default=None)
        lines += [f"## {title}", "", "| side | tokens/s | Trifold's best / side | share of the matrix rate | memory |",
                  "|---|---|---|---|---|"]  # fmt: skip
        lines += [_training_row(name, one, ours, parts) for name, one in named.items()]
        lines += ["", f"Asked: at least {AIM:.0%} of the matrix rate, and ahead of both peers.", ""]
    return lines


def _training_row(name: str, found: Mapping[str, Any], ours: float | None, parts: Parts) -> str:
    limit = parts.get("limit", {}).get("bfloat16_flops")
    share = f"{found['flops'] / limit:.0%}" if limit else "?"
    ratio = "" if ours is None or "trifold" in name else f"{ours / found['tokens_per_second']:.2f}"
    memory = f"{found['peak_bytes'] / 2**30:.1f} GiB" if "peak_bytes" in found else ""
    note = f" ({found['note']})" if "note" in found else ""
    return f"| {name.partition(' ')[2]}{note} | {found['tokens_per_second']:,.0f} | {ratio} | {share} | {memory} |"


def _decoding(parts: Parts) -> list[str]:
    lines = []
    for batch in (1, 32, 256):
        ours, peer = (parts.get(f"decode {batch} {side}", {}) for side in ("trifold", "transformers"))
        if "tokens_per_second" in ours:
            ratio = ours["tokens_per_second"] / peer["tokens_per_second"] if "tokens_per_second" in peer else None
            speeds = [f"{one['tokens_per_second']:,.0f}" if "tokens_per_second" in one else "" for one in (ours, peer)]
            read = parts.get("limit", {}).get("read_bytes")
            share = f"{ours['read_bytes'] / read:.0%}" if read else "?"
            lines.append(
                f"| {batch} | {speeds[0]} | {speeds[1]} | {'' if ratio is None else f'{ratio:.2f}'} | {share} |"
            )
    head = [
        "## Decoding, GPT-2 of 124 M, greedy, bfloat16",
        "",
        "| rows | tokens/s | transformers `generate` | ratio | weights read, of the bandwidth |",
        "|---|---|---|---|---|",
    ]
    return [*head, *lines, ""] if lines else []


def _attention(parts: Parts) -> list[str]:
    found = parts.get("attention", {})
    if "mask_ms" not in found:
        return []
    used = "used" if found["kernel"] else "not there"
    times = f"By mask {found['mask_ms']:.2f} ms, as chosen {found['chosen_ms']:.2f} ms"
    return [
        "## Attention over packed rows, forward and back",
        "",
        f"{times}; the kernel for unequal lengths is {used}.",
        "",
    ]


def _missing(parts: Parts) -> list[str]:
    lines = [f"* {name}: {found['outcome']}" + (f"; `{found['said'][-1][:200]}`" if found.get("said") else "")
             for name, found in parts.items() if found["outcome"] != "ok"]  # fmt: skip
    return ["## Left out, or failed", "", *lines] if lines else []


if __name__ == "__main__":
    sys.stdout.write(page_of(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
