"""WikiText-2: word perplexity of a small decoder trained on its two million words alone.

trifold pretrain --experiment experiments/wikitext2.py --out runs/wikitext2
trifold evaluate runs/wikitext2 --data $TRIFOLD_DATA/lm_en/wikitext-2/wiki.test.tokens.gz
"""

import os

from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training

FOLDER = f"{os.environ.get('TRIFOLD_DATA', 'data')}/lm_en/wikitext-2"
DIALS = {"d_model": 192, "num_heads": 6, "num_kv_heads": 6, "d_ff": 512}


def experiment() -> Experiment:
    """The run: a Llama shape with a vocabulary of 8,000 for 10 minutes."""
    return Experiment(
        model=ModelChoice(preset="llama", size="tiny", overrides=DIALS),
        tokenizer=TokenizerChoice(kind="byte_bpe", vocab_size=8000),
        data=DataChoice(paths=(f"{FOLDER}/wiki.train.tokens.gz",), valid=(f"{FOLDER}/wiki.valid.tokens.gz",)),
        training=Training(minutes=10, length=256, batch_size=16, evaluate_every=200, checkpoint_every=0),
    )
