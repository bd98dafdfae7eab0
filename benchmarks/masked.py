"""Masked pre-training of a small encoder: BERT mini, 128 tokens, AdamW."""

from benchmarks.pretraining import Pretraining
from benchmarks.text import WIKIPEDIA
from benchmarks.work import Benchmark, Side
from trifold.objective.config import Masked

__all__ = ["BENCHMARK"]

WORK = Pretraining(
    preset="bert",
    shape={"num_layers": 4, "d_model": 256, "num_heads": 4},
    vocabulary=30522,
    tokenizer="wordpiece",
    objective=Masked(),
    length=128,
    rows=32,
    steps=23,
    head=0.15,
)
"""Of the vocabulary, only the hidden tokens need the product."""

BENCHMARK = Benchmark(
    name="masked",
    title="masked pre-training, BERT of 4 layers, 256 wide, 30,522 words, 32 rows of 128",
    title_zh="掩码预训练：BERT，4 层，宽 256，30,522 个词元的词表，每步 32 行，每行 128 个词元",
    unit="tokens",
    files=(WIKIPEDIA,),
    quality="loss",
    sides=(
        Side(name="trifold", run=WORK.run_trifold),
        Side(name="transformers Trainer", run=WORK.run_trainer, needs=("transformers", "accelerate"), bar=3.0),
    ),
)
