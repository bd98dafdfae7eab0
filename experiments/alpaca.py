"""Instruction tuning on Alpaca, English or Chinese: bits per byte of held-out answers, from a decoder of ten minutes.

trifold pretrain --experiment experiments/zhwiki_decoder.py --data $TRIFOLD_DATA/lm_en/enwiki_sample/train.jsonl.gz \
  --valid $TRIFOLD_DATA/lm_en/enwiki_sample/valid.jsonl.gz --out runs/enwiki_decoder
trifold finetune --experiment experiments/alpaca.py --out runs/alpaca_en
trifold generate runs/alpaca_en "Name three rivers."

trifold pretrain --experiment experiments/zhwiki_decoder.py --out runs/zhwiki_decoder
trifold finetune --experiment experiments/alpaca.py --model runs/zhwiki_decoder --out runs/alpaca_zh \
  --train $TRIFOLD_DATA/instruct/alpaca_zh_part.jsonl.gz
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
