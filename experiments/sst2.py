"""SST-2, sentiment of film reviews: accuracy on the 1,821 test sentences, from the encoder of encoder_en.py.

trifold finetune --experiment experiments/sst2.py --out runs/sst2
"""

import os

from trifold.tasks import FineTuning, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/sentiment_en/sst2"


def experiment() -> FineTuning:
    """The run."""
    return FineTuning(
        model=ModelChoice(start="runs/encoder_en", dials={"dropout": 0.1}),
        data=LabelledData(train=f"{FOLDER}/train.tsv.gz", dev=f"{FOLDER}/dev.tsv.gz", test=f"{FOLDER}/test.tsv.gz"),
        training=TRAINING,
        epochs=2.0,
    )
