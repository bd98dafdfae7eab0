"""AG News, a fifth of its training data: accuracy on the official 7,600 test texts, from encoder_en.py's encoder.

trifold finetune --experiment experiments/ag_news.py --out runs/ag_news
"""

import os
from dataclasses import replace

from trifold.tasks import Classification, FineTuning, LabelledData
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/topic_en/ag_news_partial"


def experiment() -> FineTuning:
    """The run."""
    optimizer = AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98))
    return FineTuning(
        model=ModelChoice(start="runs/encoder_en", overrides={"dropout": 0.1}),
        task=Classification(ngrams=2),
        data=LabelledData(
            train=f"{FOLDER}/train_partial.tsv.gz",
            test=f"{FOLDER}/test.tsv.gz",
            dev_fraction=0.03,
            columns={"text": "text|title+description"},
        ),
        training=replace(TRAINING, optimizer=optimizer, batch_size=32),
        epochs=1.5,
    )
