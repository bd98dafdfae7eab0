"""Multi30k, English to German, from scratch: BLEU (sacreBLEU, 13a, cased) on test 2016.

trifold finetune --experiment experiments/multi30k_en_de.py --out runs/en_de
trifold finetune --experiment experiments/multi30k_en_de.py --source-field de --target-field en --out runs/de_en
"""

import os

from trifold.tasks import FineTuning, LabelledData, Translation
from trifold.training import AdamW, ModelChoice, Muon, Schedule, TokenizerChoice, Training

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/mt_en_de/multi30k"
DIALS = {"num_layers": 3, "d_model": 192, "num_heads": 4, "d_ff": 512, "max_length": 128, "dropout": 0.15}


def experiment(source: str = "en", target: str = "de") -> FineTuning:
    """The run: three layers a side, 192 wide, for 40 minutes."""
    return FineTuning(
        model=ModelChoice(preset="vaswani", size="mini", overrides=DIALS),
        task=Translation(beams=5, max_length=128),
        tokenizer=TokenizerChoice(kind="byte_bpe", vocab_size=6000),
        data=LabelledData(
            train=f"{FOLDER}/train.tsv.gz",
            dev=f"{FOLDER}/val.tsv.gz",
            test=f"{FOLDER}/test_2016_flickr.tsv.gz",
            columns={"source": source, "target": target},
        ),
        epochs=None,
        training=Training(
            minutes=40,
            batch_size=128,
            optimizer=Muon(lr=5e-3, weight_decay=0.1, adamw=AdamW(lr=3e-3, weight_decay=0.0)),
            schedule=Schedule(kind="linear", warmup=0.05),
            evaluate_every=400,
            evaluate_rows=1014,
            checkpoint_every=0,
        ),
    )
