"""Chinese Wikipedia, an encoder with whole-word masking: bits per byte of the hidden words.

trifold pretrain --experiment experiments/zhwiki_encoder.py --out runs/zhwiki_encoder
"""

import os

from trifold.objective.config import Masked
from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/lm_zh/zhwiki_sample"


def experiment() -> Experiment:
    """The run: a ModernBERT shape for 12 minutes."""
    return Experiment(
        model=ModelChoice(preset="modernbert", size="mini", dials={"max_length": 256}),
        tokenizer=TokenizerChoice(kind="byte_bpe", vocab_size=12000),
        data=DataChoice(paths=(f"{FOLDER}/train.jsonl.gz",), valid=(f"{FOLDER}/valid.jsonl.gz",)),
        objective=Masked(whole_word=True),
        training=Training(minutes=12, length=256, batch_size=16, evaluate_every=400, checkpoint_every=0),
    )
