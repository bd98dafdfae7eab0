"""Copying and reversing: an encoder-decoder must write its source, or its source backwards, on sources never seen.

trifold pretrain --experiment experiments/copy_reverse.py --out runs/copy_reverse
python experiments/copy_reverse.py runs/copy_reverse        # exact matches on 1,000 unseen pairs of each task
"""

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trifold.objective.config import SequenceToSequence
from trifold.training import (
    DataChoice,
    Experiment,
    ModelChoice,
    TokenizerChoice,
    Training,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def pairs(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Sources `c:word` and `r:word` with their targets; words of 3 to 12 random letters."""
    chance = random.Random(seed)
    for number in range(count):
        word = "".join(chance.choices(LETTERS, k=chance.randint(3, 12)))
        yield (f"c:{word}", word) if number % 2 else (f"r:{word}", word[::-1])


def experiment() -> Experiment:
    """The run; its pairs are made on the spot."""
    table = Path(tempfile.gettempdir()) / "trifold-copy-reverse.tsv"
    rows = "\n".join("\t".join(pair) for pair in pairs(40_000, seed=0))
    table.write_text(f"source\ttarget\n{rows}\n", encoding="utf-8")
    return Experiment(
        model=ModelChoice(preset="vaswani", size="tiny", overrides={"dropout": 0.0, "max_length": 128}),
        tokenizer=TokenizerChoice(kind="character", vocab_size=256),
        data=DataChoice(paths=(str(table),), source_field="source", target_field="target", valid_fraction=0.02),
        objective=SequenceToSequence(),
        training=Training(steps=1500, length=64, batch_size=16, evaluate_every=500, checkpoint_every=0),
    )


def main(folder: str) -> None:
    """Greedy answers to unseen sources, compared whole."""
    from trifold.generation import Generator, Sampling

    known = {source for source, _ in pairs(40_000, seed=0)}
    unseen = [pair for pair in pairs(4_000, seed=1) if pair[0] not in known]
    generator = Generator.from_pretrained(folder)
    for task in ("c:", "r:"):
        chosen = [pair for pair in unseen if pair[0].startswith(task)][:1000]
        made = generator.generate([source for source, _ in chosen], Sampling(temperature=0.0, max_tokens=20))
        right = sum(one.text == target for one, (_, target) in zip(made, chosen, strict=True))
        sys.stdout.write(f"{task} {right} of {len(chosen)} exact\n")


if __name__ == "__main__":
    main(sys.argv[1])
