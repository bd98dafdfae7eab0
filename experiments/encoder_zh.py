"""An encoder for Chinese, pre-trained on 36 MB of Wikipedia, laws and old novels and on the texts of training splits.

trifold pretrain --experiment experiments/encoder_zh.py --out runs/encoder_zh_first
trifold pretrain --experiment experiments/encoder_zh.py --from runs/encoder_zh_first --minutes 60 --out runs/encoder_zh

One core took 100 minutes for both (40 and 60), which is less than an hour of two; the first alone is worth having.
"""

import os

from trifold.objective.config import Masked
from trifold.training import DataChoice, Experiment, ModelChoice, TokenizerChoice, Training

DATA = os.environ.get("TRIFOLD_DATA", "data")
DIALS = {"num_layers": 4, "d_model": 256, "num_heads": 4, "d_ff": 384, "max_length": 512}
TEXTS = {
    "lm_zh/zhwiki_sample/train.jsonl.gz": 0.45,
    "lm_zh/prc_laws/laws.jsonl.gz": 0.06,
    "lm_zh/novels": 0.04,
    "topic_zh/tnews/train.tsv.gz": 0.18,
    "sentiment_zh/chnsenticorp/train.tsv.gz": 0.19,
    "qa_zh/drcd_dev.jsonl.gz": 0.05,
    "qa_zh/cmrc2018_trial.jsonl.gz": 0.03,
}
"""How often to draw from each; DRCD dev and CMRC trial are what span_qa_zh.py trains on."""


def experiment() -> Experiment:
    """The run: a ModernBERT shape of 6.3 M parameters, its embedding counted before it is trained, for 45 minutes."""
    return Experiment(
        model=ModelChoice(preset="modernbert", overrides=DIALS, embedding="cooccurrence"),
        tokenizer=TokenizerChoice(kind="byte_bpe", vocab_size=16000),
        data=DataChoice(
            paths=tuple(f"{DATA}/{name}" for name in TEXTS),
            weights=tuple(TEXTS.values()),
            valid=(f"{DATA}/lm_zh/zhwiki_sample/valid.jsonl.gz",),
            text_field="text|context|title",
            document="paragraph",
        ),
        objective=Masked(rate=0.25),
        training=Training(minutes=45, length=128, batch_size=16, evaluate_every=400, checkpoint_every=0),
    )
