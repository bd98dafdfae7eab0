"""SST-2, sentiment of film reviews: accuracy on the 1,821 test sentences, from the encoder of encoder_en.py.

trifold finetune --experiment experiments/sst2.py --out runs/sst2
"""

import os
from dataclasses import replace

from trifold.tasks import Classification, FineTuning, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/sentiment_en/sst2"


def experiment() -> FineTuning:
    """The run."""
    optimizer = AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98))
    return FineTuning(
        model=ModelChoice(start="runs/encoder_en", overrides={"dropout": 0.1}),
        task=Classification(ngrams=2),
        data=LabelledData(
            train=f"{FOLDER}/train.tsv.gz",
            dev=f"{FOLDER}/dev.tsv.gz",
            test=f"{FOLDER}/test.tsv.gz",
        ),
        training=replace(TRAINING, optimizer=optimizer, batch_size=64),
        epochs=2.0,
    )
