"""Chinese Wikipedia, an encoder with whole-word masking: bits per byte of the hidden words.

trifold pretrain --experiment experiments/zhwiki_encoder.py --out runs/zhwiki_encoder
"""

import os

from trifold.objective.config import Masked
from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/lm_zh/zhwiki_sample"
DIALS = {"d_model": 192, "num_heads": 6, "d_ff": 288, "max_length": 256}


def experiment() -> Experiment:
    """The run: a ModernBERT shape for 10 minutes."""
    return Experiment(
        model=ModelChoice(preset="modernbert", size="tiny", overrides=DIALS),
        tokenizer=TokenizerChoice(kind="byte_bpe", vocab_size=8000),
        data=DataChoice(paths=(f"{FOLDER}/train.jsonl.gz",), valid=(f"{FOLDER}/valid.jsonl.gz",)),
        objective=Masked(whole_word=True),
        training=Training(minutes=10, length=256, batch_size=16, evaluate_every=400, checkpoint_every=0),
    )
