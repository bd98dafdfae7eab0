"""TREC, what a question asks for (6 classes): accuracy on the 500 test questions, from the encoder of encoder_en.py.

trifold finetune --experiment experiments/trec.py --out runs/trec
"""

import os

from trifold.tasks import FineTuning, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/topic_en/trec"


def experiment() -> FineTuning:
    """The run."""
    return FineTuning(
        model=ModelChoice(start="runs/encoder_en", dials={"dropout": 0.1}),
        data=LabelledData(
            train=f"{FOLDER}/train.tsv",
            test=f"{FOLDER}/test.tsv",
            dev_fraction=0.05,
            columns={"text": "question", "label": "coarse"},
        ),
        training=TRAINING,
        epochs=6.0,
    )
