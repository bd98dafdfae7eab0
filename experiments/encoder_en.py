"""An encoder for English, pre-trained on 38 MB of Wikipedia and old books and on the texts of the tasks' training splits.

trifold pretrain --experiment experiments/encoder_en.py --out runs/encoder_en_first
trifold pretrain --experiment experiments/encoder_en.py --from runs/encoder_en_first --minutes 60 --out runs/encoder_en

One core took 105 minutes for both, which is less than an hour of two; the first alone is worth having.
"""

import os

from trifold.objective.config import Masked
from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training

DATA = os.environ.get("TRIFOLD_DATA", "data")
DIALS = {"num_layers": 4, "d_model": 256, "num_heads": 4, "d_ff": 384, "max_length": 512}
TEXTS = {
    "lm_en/enwiki_sample/train.jsonl.gz": 0.35,
    "lm_en/gutenberg": 0.1,
    "lm_en/wikitext-2/wiki.train.tokens.gz": 0.15,
    "sentiment_en/sst2/train.tsv.gz": 0.15,
    "topic_en/ag_news_partial/train_partial.tsv.gz": 0.15,
    "topic_en/banking77/train.tsv.gz": 0.06,
    "topic_en/trec/train.tsv": 0.04,
}
"""How often to draw from each."""


def experiment() -> Experiment:
    """The run: a ModernBERT shape of 6.3 M parameters, its embedding counted before it is trained, for 45 minutes."""
    return Experiment(
        model=ModelChoice(preset="modernbert", overrides=DIALS, embedding="cooccurrence"),
        tokenizer=TokenizerChoice(kind="wordpiece", vocab_size=16000, lowercase=True),
        data=DataChoice(
            paths=tuple(f"{DATA}/{name}" for name in TEXTS),
            weights=tuple(TEXTS.values()),
            valid=(f"{DATA}/lm_en/enwiki_sample/valid.jsonl.gz",),
            text_field="text|sentence|question",
            document="paragraph",
        ),
        objective=Masked(rate=0.25),
        training=Training(minutes=45, length=128, batch_size=16, evaluate_every=400, checkpoint_every=0),
    )
