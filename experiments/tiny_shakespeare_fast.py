"""Tiny Shakespeare, characters, the shape of nanoGPT's CPU setting: 4 layers, 128 wide, context 64.

Claim: held-out loss of at most 1.88 nats a character, which nanoGPT's setting reaches after 2,000 steps, in 20 seconds.

    trifold pretrain --experiment experiments/tiny_shakespeare_fast.py --out runs/tiny_shakespeare_fast
"""

import os

from trifold.training import (
    AdamW,
    DataChoice,
    Experiment,
    ModelChoice,
    Muon,
    Schedule,
    TokenizerChoice,
    Training,
)

TEXT = f"{os.environ.get('TRIFOLD_DATA', 'data')}/lm_en/tinyshakespeare/input.txt.gz"


def experiment() -> Experiment:
    """The run; the last tenth of the text is held out, as nanoGPT does."""
    return Experiment(
        model=ModelChoice(preset="llama", size="tiny", overrides={"num_kv_heads": 4, "d_ff": 344, "max_length": 64}),
        tokenizer=TokenizerChoice(kind="character", vocab_size=256),
        data=DataChoice(paths=(TEXT,), valid_fraction=0.1, held_out="end"),
        training=Training(
            steps=200,
            length=64,
            batch_size=24,
            optimizer=Muon(lr=0.02, momentum=0.9, adamw=AdamW(lr=0.01, weight_decay=0.0)),
            schedule=Schedule(kind="linear", warmup=0.05),
            evaluate_every=0,
            checkpoint_every=0,
        ),
    )
