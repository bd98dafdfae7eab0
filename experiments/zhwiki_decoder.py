"""Chinese Wikipedia, a decoder with its own tokenizer: held-out bits per byte beside a 5-gram of the same tokens.

trifold pretrain --experiment experiments/zhwiki_decoder.py --out runs/zhwiki_decoder
trifold report runs/zhwiki_decoder
"""

import os

from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/lm_zh/zhwiki_sample"
DIALS = {"d_model": 192, "num_heads": 6, "num_kv_heads": 6, "d_ff": 512}


def experiment() -> Experiment:
    """The run: a Llama shape of 3 M parameters, about the best size for what 10 minutes of a laptop can compute."""
    return Experiment(
        model=ModelChoice(preset="llama", size="tiny", overrides=DIALS),
        tokenizer=TokenizerChoice(kind="byte_bpe", vocab_size=8000),
        data=DataChoice(paths=(f"{FOLDER}/train.jsonl.gz",), valid=(f"{FOLDER}/valid.jsonl.gz",)),
        training=Training(minutes=10, length=256, batch_size=16, evaluate_every=200, checkpoint_every=0),
    )
