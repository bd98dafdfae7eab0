"""Banking77, what a customer wants (77 intents): accuracy on the 3,080 test questions, from encoder_en.py's encoder.

trifold finetune --experiment experiments/banking77.py --out runs/banking77
"""

import os
from dataclasses import replace

from trifold.tasks import Classification, FineTuning, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/topic_en/banking77"


def experiment() -> FineTuning:
    """The run."""
    optimizer = AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98))
    return FineTuning(
        model=ModelChoice(start="runs/encoder_en", overrides={"dropout": 0.1}),
        task=Classification(ngrams=2),
        data=LabelledData(
            train=f"{FOLDER}/train.tsv.gz",
            test=f"{FOLDER}/test.tsv.gz",
            dev_fraction=0.05,
        ),
        training=replace(TRAINING, optimizer=optimizer, batch_size=32),
        epochs=10.0,
    )
