"""Instruction tuning on Alpaca's 52,002 English instructions, from enwiki_decoder.py: bits per byte of held-out answers.

trifold finetune --experiment experiments/alpaca_en.py --out runs/alpaca_en
trifold generate runs/alpaca_en "..."
"""

import os
from dataclasses import replace

from trifold.tasks import FineTuning, Generation, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FILE = f"{os.environ.get('TRIFOLD_DATA', 'data')}/instruct/alpaca_en_52k.jsonl.gz"


def experiment() -> FineTuning:
    """The run: ten minutes; a fiftieth of the instructions is held out to judge on."""
    return FineTuning(
        model=ModelChoice(start="runs/enwiki_decoder"),
        task=Generation(max_length=256),
        data=LabelledData(train=FILE, dev_fraction=0.01, test_fraction=0.02, group="instruction"),
        epochs=None,
        training=replace(
            TRAINING,
            minutes=10,
            steps=None,
            batch_size=32,
            optimizer=AdamW(lr=1e-3, weight_decay=0.01, betas=(0.9, 0.98)),
            evaluate_every=100,
        ),
    )
