"""Pre-training of a decoder: a small one, as on a laptop, and GPT-2 small."""

import time
from functools import partial
from itertools import islice

import torch

from benchmarks import nanogpt
from benchmarks.pretraining import Pretraining
from benchmarks.step import training_flops
from benchmarks.text import WIKIPEDIA
from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.objective.config import Causal

__all__ = ["BENCHMARK", "LARGE"]

PEERS = ("transformers", "accelerate")
SMALL_SHAPE = {"num_layers": 6, "d_model": 384, "num_heads": 6, "max_length": 256}
LARGE_SHAPE = {"num_layers": 12, "d_model": 768, "num_heads": 12, "max_length": 1024}
SMALL_WORK = Pretraining(
    preset="gpt2",
    shape=SMALL_SHAPE,
    vocabulary=8000,
    tokenizer="byte_bpe",
    objective=Causal(),
    length=256,
    rows=16,
    steps=15,
)
LARGE_WORK = Pretraining(
    preset="gpt2",
    shape=LARGE_SHAPE,
    vocabulary=50257,
    tokenizer="byte_bpe",
    objective=Causal(),
    length=1024,
    rows=2,
    steps=4,
    warm=1,
    lr=1e-4,
)


def run_nanogpt(work: Work, *, compiled: bool = True) -> Measured:
    """The model and step of nanoGPT."""
    length, rows, steps = SMALL_WORK.size(work)
    with SMALL_WORK.setting(work) as shared:
        ids = torch.tensor(shared.ids)
        words = shared.tokenizer.vocab_size if work.smoke else SMALL_WORK.vocabulary
        parameters = shared.parameters
    model = nanogpt.build(work, words=words, length=length)
    optimizer = model.configure_optimizers(0.1, SMALL_WORK.lr, (0.9, 0.95), work.device)
    training = nanogpt.train(work, model, optimizer, ids, rows=rows, length=length, compiled=compiled)
    warm = list(islice(training, SMALL_WORK.warm))
    start = time.perf_counter()
    losses = warm + list(islice(training, steps - SMALL_WORK.warm))
    seconds, tokens = time.perf_counter() - start, (steps - SMALL_WORK.warm) * rows * length
    note = work.precision + (", compiled" if compiled else "")
    return Measured(
        amount=tokens,
        seconds=seconds,
        quality=sum(losses[steps // 2 :]) / (steps - steps // 2),
        flops=training_flops(parameters, tokens),
        note=note,
    )


BENCHMARK = Benchmark(
    name="decoder",
    title="pre-training a decoder of 6 layers, 384 wide, 8,000 words, 16 rows of 256",
    title_zh="预训练解码器：6 层，宽 384，8,000 个词元的词表，每步 16 行，每行 256 个词元",
    unit="tokens",
    files=(WIKIPEDIA,),
    quality="loss",
    sides=(
        Side(name="trifold", run=SMALL_WORK.run_trifold),
        Side(name="nanoGPT", run=run_nanogpt, checkout="nanogpt", bar=2.0),
        Side(name="nanoGPT, eager", run=partial(run_nanogpt, compiled=False), checkout="nanogpt", bar=2.0),
        Side(name="transformers Trainer", run=SMALL_WORK.run_trainer, needs=PEERS, bar=2.5),
        Side(
            name="transformers Trainer, default", run=partial(SMALL_WORK.run_trainer, half=False), needs=PEERS, bar=5.0
        ),
    ),
)
LARGE = Benchmark(
    name="gpt2",
    title="pre-training GPT-2 small, 124 M parameters, 50,257 words, 2 rows of 1,024",
    title_zh="预训练 GPT-2 small：1.24 亿参数，50,257 个词元的词表，每步 2 行，每行 1,024 个词元",
    unit="tokens",
    files=(WIKIPEDIA,),
    quality="loss",
    sides=(
        Side(name="trifold", run=LARGE_WORK.run_trifold),
        Side(name="transformers Trainer", run=LARGE_WORK.run_trainer, needs=PEERS, bar=1.6),
    ),
    rounds=2,
)
