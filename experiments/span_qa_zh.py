"""Chinese reading comprehension: DRCD dev and CMRC trial to train on, CMRC dev to judge on, from encoder_zh.py.

python experiments/recurring_spans.py runs/spans_zh.jsonl --most 20000 \
  $TRIFOLD_DATA/{lm_zh/zhwiki_sample/train,qa_zh/drcd_dev,qa_zh/cmrc2018_trial}.jsonl.gz
python experiments/simplified.py runs/drcd_simplified.jsonl $TRIFOLD_DATA/qa_zh/drcd_dev.jsonl.gz
trifold finetune --experiment experiments/span_qa_zh.py --train runs/spans_zh.jsonl --minutes 15 --out runs/reader_zh_first
trifold finetune --experiment experiments/span_qa_zh.py --model runs/reader_zh_first --minutes 20 --out runs/reader_zh
"""

import os
from dataclasses import replace

from trifold.tasks import FineTuning, LabelledData, SpanQA
from trifold.tasks.experiment import TRAINING
from trifold.training import AdamW, ModelChoice

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/qa_zh"


def experiment() -> FineTuning:
    """The run: windows that nearly every paragraph fits in; one question of CMRC trial is empty and is left out."""
    return FineTuning(
        model=ModelChoice(start="runs/encoder_zh", overrides={"dropout": 0.1}),
        task=SpanQA(max_length=512, stride=256, match=True),
        data=LabelledData(
            train=("runs/drcd_simplified.jsonl", f"{FOLDER}/cmrc2018_trial.jsonl.gz"),
            test=f"{FOLDER}/cmrc2018_dev.jsonl.gz",
            dev_fraction=0.05,
            group="context",
            on_error="skip",
        ),
        training=replace(TRAINING, optimizer=AdamW(lr=7e-4, weight_decay=0.01, betas=(0.9, 0.98)), batch_size=12),
        epochs=3.0,
    )
