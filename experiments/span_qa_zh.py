"""Chinese reading comprehension: DRCD dev and CMRC trial to train on, CMRC dev to judge on, from encoder_zh.py.

trifold finetune --experiment experiments/span_qa_zh.py --out runs/reader_zh
"""

import os
from dataclasses import replace

from trifold.tasks import FineTuning, LabelledData, SpanQA
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/qa_zh"


def experiment() -> FineTuning:
    """The run; one question of CMRC trial is empty and is left out."""
    return FineTuning(
        model=ModelChoice(start="runs/encoder_zh", dials={"dropout": 0.1}),
        task=SpanQA(max_length=320, stride=160),
        data=LabelledData(
            train=(f"{FOLDER}/drcd_dev.jsonl.gz", f"{FOLDER}/cmrc2018_trial.jsonl.gz"),
            test=f"{FOLDER}/cmrc2018_dev.jsonl.gz",
            dev_fraction=0.05,
            group="context",
            on_error="skip",
        ),
        training=replace(TRAINING, optimizer=AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98)), batch_size=12),
        epochs=3.0,
    )
