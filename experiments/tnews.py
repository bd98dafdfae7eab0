"""TNEWS, topics of Chinese headlines (15 classes): accuracy on the 10,000 dev titles, from the encoder of encoder_zh.py.

trifold finetune --experiment experiments/tnews.py --out runs/tnews
"""

import os
from dataclasses import replace

from trifold.tasks import Classification, FineTuning, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/topic_zh/tnews"


def experiment() -> FineTuning:
    """The run."""
    optimizer = AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98))
    return FineTuning(
        model=ModelChoice(start="runs/encoder_zh", overrides={"dropout": 0.1}),
        task=Classification(ngrams=3),
        data=LabelledData(
            train=f"{FOLDER}/train.tsv.gz",
            test=f"{FOLDER}/dev.tsv.gz",
            dev_fraction=0.03,
            columns={"text": "title"},
        ),
        training=replace(TRAINING, optimizer=optimizer, batch_size=64),
        epochs=2.0,
    )
