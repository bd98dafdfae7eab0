"""ChnSentiCorp, sentiment of Chinese reviews: accuracy on the 1,200 test reviews, from the encoder of encoder_zh.py.

trifold finetune --experiment experiments/chnsenticorp.py --out runs/chnsenticorp
"""

import os
from dataclasses import replace

from trifold.tasks import Classification, FineTuning, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/sentiment_zh/chnsenticorp"


def experiment() -> FineTuning:
    """The run."""
    optimizer = AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98))
    return FineTuning(
        model=ModelChoice(start="runs/encoder_zh", overrides={"dropout": 0.1}),
        task=Classification(ngrams=3, max_length=256),
        data=LabelledData(
            train=f"{FOLDER}/train.tsv.gz",
            dev=f"{FOLDER}/dev.tsv.gz",
            test=f"{FOLDER}/test.tsv.gz",
        ),
        training=replace(TRAINING, optimizer=optimizer, batch_size=32),
        epochs=3.0,
    )
