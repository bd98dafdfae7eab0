"""English reading comprehension: 17,741 questions on new Wikipedia and Reddit, split 80/10/10 by context.

trifold finetune --experiment experiments/span_qa_en.py --out runs/reader_en
"""

import os
from dataclasses import replace

from trifold.tasks import FineTuning, LabelledData, SpanQA
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/qa_en"


def experiment() -> FineTuning:
    """The run."""
    return FineTuning(
        model=ModelChoice(start="runs/encoder_en", overrides={"dropout": 0.1}),
        task=SpanQA(max_length=320, stride=160, match=True),
        data=LabelledData(
            train=(f"{FOLDER}/squadshifts_new_wiki.jsonl.gz", f"{FOLDER}/squadshifts_reddit.jsonl.gz"),
            dev_fraction=0.1,
            test_fraction=0.1,
            group="context",
        ),
        training=replace(TRAINING, optimizer=AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98)), batch_size=12),
        epochs=3.0,
    )
