"""The pages on interoperability are written by their command, and say the same in both languages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CELL = re.compile(r"`[^`]*`|[\d,.]+(?:e-\d+)?")


def rows(path: Path) -> list[list[str]]:
    """Of each row of a table its code and its numbers, which no language changes."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    named = [line.split("|") for line in lines if "---" not in line]
    return [[found for cell in cells[1:6] for found in CELL.findall(cell)] for cells in named]


def same_tables(one: Path, two: Path) -> int:
    ours, theirs = rows(one), rows(two)
    for first, second in zip(ours[1:], theirs[1:], strict=True):
        assert [cell for cell in first if cell[0] == "`"] == [cell for cell in second if cell[0] == "`"]
    return len(ours)


def test_both_pages_have_the_same_rows():
    english, chinese = ROOT / "docs" / "interoperability.md", ROOT / "docs" / "zh" / "interoperability.md"
    assert same_tables(english, chinese) > 40
    counted = [re.findall(r"\d[\d,]* / \d[\d,]*", path.read_text(encoding="utf-8")) for path in (english, chinese)]
    assert counted[0] == counted[1] and len(counted[0]) > 30


@pytest.mark.slow
def test_the_command_writes_both_pages(tmp_path):
    pytest.importorskip("sentence_transformers")
    pages = tmp_path / "en.md", tmp_path / "zh.md"
    words = [sys.executable, str(ROOT / "scripts" / "interoperability.py"), "--families", "bert", "--share", "0.02",
             "--page", str(pages[0]), "--zh", str(pages[1])]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert same_tables(*pages) > 8
    counts = re.findall(r"\| yes \| (\d+) / (\d+) \|[^|]*\|([^|]*)\|", pages[0].read_text(encoding="utf-8"))
    assert len(counts) > 7 and all(one == other or why.strip() for one, other, why in counts)
