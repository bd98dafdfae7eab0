"""TREC, what a question asks for (6 classes): accuracy on the 500 test questions, from the encoder of encoder_en.py.

trifold finetune --experiment experiments/trec.py --out runs/trec
"""

import os
from dataclasses import replace

from trifold.tasks import Classification, FineTuning, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/topic_en/trec"


def experiment() -> FineTuning:
    """The run."""
    optimizer = AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98))
    return FineTuning(
        model=ModelChoice(start="runs/encoder_en", overrides={"dropout": 0.1}),
        task=Classification(ngrams=2),
        data=LabelledData(
            train=f"{FOLDER}/train.tsv",
            test=f"{FOLDER}/test.tsv",
            dev_fraction=0.05,
            columns={"text": "question", "label": "coarse"},
        ),
        training=replace(TRAINING, optimizer=optimizer, batch_size=32),
        epochs=8.0,
    )
