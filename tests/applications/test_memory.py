"""Memory does not grow with the corpus: six times the text trains in the same RAM."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import resource, sys
from trifold.cli.main import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "code", code)
"""


def corpus(path: Path, megabytes: int) -> Path:
    dice = random.Random(0)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 9))) for _ in range(5000)]
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1_000_000:
            file.write(json.dumps({"text": " ".join(dice.choices(words, k=500))}) + "\n")
    return path


def peak(tmp_path: Path, data: Path, tokenizer: Path, name: str) -> int:
    words = ["pretrain", "--preset", "gpt2", "--size", "tiny", "--data", str(data), "--out", str(tmp_path / name),
             "--tokenizer", str(tokenizer), "--steps", "3", "--length", "64", "--batch-size", "4"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("peak"))
    assert line.endswith("code 0"), done.stderr
    return int(line.split()[1])


@pytest.mark.slow
def test_six_times_the_text_trains_in_the_same_memory(tmp_path):
    from trifold.text import train_tokenizer

    small, large = corpus(tmp_path / "small.jsonl", 10), corpus(tmp_path / "large.jsonl", 60)
    texts = [json.loads(line)["text"] for line in small.read_text(encoding="utf-8").splitlines()[:200]]
    train_tokenizer(texts, kind="byte_bpe", vocab_size=1000).save_pretrained(tmp_path / "tokenizer")
    little, much = (peak(tmp_path, data, tmp_path / "tokenizer", data.stem) for data in (small, large))
    assert much < 1.1 * little, f"{little} KiB for 10 MB, {much} KiB for 60 MB"
