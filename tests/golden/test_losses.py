"""Twenty steps of each objective, whole path, float64: the losses are those on record, or someone changed the numbers.

A change that is meant rewrites the record: `python -m tests.golden.test_losses`.
"""

import json
import random
import tempfile
from pathlib import Path

import pytest

from trifold.objective.config import Causal, Denoising, Infilling, Masked, Prefix, SequenceToSequence
from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training, pretrain
from trifold.training.log import read_metrics

RECORD = Path(__file__).with_name("losses.json")
WORDS = "the cat sat on a mat and the dog ran to it 猫 坐在 垫子 上 。 狗 跑了 过来 。".split()
CASES = {
    "causal": ("llama", Causal()),
    "masked": ("modernbert", Masked(whole_word=True)),
    "denoising": ("t5", Denoising()),
    "infilling": ("bart", Infilling()),
    "prefix": ("gpt2", Prefix()),
    "sequence_to_sequence": ("vaswani", SequenceToSequence()),
}


def losses(name: str, folder: Path) -> list[float]:
    """The loss of each of the twenty steps."""
    preset, objective = CASES[name]
    dice = random.Random(0)
    lines = [" ".join(dice.choices(WORDS, k=dice.randint(3, 20))) for _ in range(300)]
    pairs = name == "sequence_to_sequence"
    table = folder / ("pairs.tsv" if pairs else "text.txt")
    rows = ["source\ttarget", *(f"{line}\t{line[::-1]}" for line in lines)] if pairs else lines
    table.write_text("\n".join(rows), encoding="utf-8")
    fields = {"source_field": "source", "target_field": "target"} if pairs else {"document": "line"}
    overrides = {"num_layers": 2, "d_model": 32, "num_heads": 2, "dropout": 0.0}
    if preset == "llama":
        overrides = {**overrides, "num_kv_heads": 1}
    experiment = Experiment(
        model=ModelChoice(preset=preset, overrides=overrides),
        tokenizer=TokenizerChoice(vocab_size=420),
        data=DataChoice(paths=(str(table),), valid_fraction=0.0, **fields),
        objective=objective,
        training=Training(
            steps=20,
            length=64,
            batch_size=4,
            dtype="float64",
            log_every=1,
            evaluate_every=0,
            checkpoint_every=0,
        ),
    )
    pretrain(experiment, folder / "run")
    return [row["loss"] for row in read_metrics(folder / "run") if row.get("loss") is not None]


@pytest.mark.parametrize("name", CASES)
def test_twenty_steps_are_those_on_record(name, tmp_path):
    wanted = json.loads(RECORD.read_text(encoding="utf-8"))[name]
    made = losses(name, tmp_path)
    assert len(made) == len(wanted) == 20
    assert made == pytest.approx(wanted, abs=1e-6)
    assert sum(made[-5:]) < sum(made[:5]), "and it learns"


if __name__ == "__main__":
    record = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            record[case] = [round(loss, 10) for loss in losses(case, Path(scratch))]
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
