"""A decoder for English on 28 MB of Wikipedia and old books, to be tuned by alpaca_en.py.

trifold pretrain --experiment experiments/enwiki_decoder.py --out runs/enwiki_decoder
"""

import os

from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/lm_en"
DIALS = {"d_model": 192, "num_heads": 6, "num_kv_heads": 6, "d_ff": 512}


def experiment() -> Experiment:
    """The run: the same Llama shape and the same time as zhwiki_decoder.py."""
    return Experiment(
        model=ModelChoice(preset="llama", size="tiny", dials=DIALS),
        tokenizer=TokenizerChoice(kind="byte_bpe", vocab_size=8000),
        data=DataChoice(
            paths=(f"{FOLDER}/enwiki_sample/train.jsonl.gz", f"{FOLDER}/gutenberg"),
            weights=(0.8, 0.2),
            valid=(f"{FOLDER}/enwiki_sample/valid.jsonl.gz",),
        ),
        training=Training(minutes=10, length=256, batch_size=16, evaluate_every=200, checkpoint_every=0),
    )
