"""Tatoeba, Chinese to English, from scratch: BLEU and chrF on the test split, trained on Tatoeba and 3AM.

trifold finetune --experiment experiments/tatoeba_zh_en.py --out runs/zh_en
trifold finetune --experiment experiments/tatoeba_zh_en.py --source-field en --target-field zh --out runs/en_zh
"""

import os

from trifold.tasks import FineTuning, LabelledData, Translation
from trifold.training import AdamW, ModelChoice, Muon, Schedule, TokenizerChoice, Training

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/mt_zh_en"
DIALS = {"num_layers": 3, "d_model": 192, "num_heads": 4, "d_ff": 512, "max_length": 128, "dropout": 0.15}


def experiment(source: str = "zh", target: str = "en") -> FineTuning:
    """The run: three layers a side, 192 wide, for 50 minutes."""
    return FineTuning(
        model=ModelChoice(preset="vaswani", size="mini", overrides=DIALS),
        task=Translation(beams=5, max_length=128),
        tokenizer=TokenizerChoice(kind="byte_bpe", vocab_size=8000),
        data=LabelledData(
            train=(f"{FOLDER}/tatoeba_cmn/train.tsv.gz", f"{FOLDER}/3am/train.tsv.gz"),
            dev=f"{FOLDER}/tatoeba_cmn/dev.tsv.gz",
            test=f"{FOLDER}/tatoeba_cmn/test.tsv.gz",
            columns={"source": source, "target": target},
        ),
        epochs=None,
        training=Training(
            minutes=50,
            batch_size=128,
            optimizer=Muon(lr=5e-3, weight_decay=0.1, adamw=AdamW(lr=3e-3, weight_decay=0.0)),
            schedule=Schedule(kind="linear", warmup=0.05),
            evaluate_every=400,
            evaluate_rows=1000,
            checkpoint_every=0,
        ),
    )
