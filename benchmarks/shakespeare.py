"""How long it takes from Tiny Shakespeare, characters, to the loss on its last tenth that nanoGPT is known for."""

import gzip
import math
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import nanogpt
from benchmarks.text import made_up
from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.training import (
    AdamW,
    DataChoice,
    Experiment,
    ModelChoice,
    Muon,
    Schedule,
    TokenizerChoice,
    Training,
    pretrain,
)

__all__ = ["BENCHMARK"]

SHAKESPEARE = "lm_en/tinyshakespeare/input.txt.gz"
TARGET = 1.4697
"""Nats a character: the best of nanoGPT's `config/train_shakespeare_char.py`, as its README has it."""
BAR = 5.0
PATIENCE = 1.02 * BAR
"""Times our seconds after which a peer is stopped: the ratio is then at least this."""
EVALUATE_EVERY = 250


def text_of(work: Work) -> str:
    """The plays; made-up words where little is to be done."""
    if work.smoke:
        return made_up(0, 3000)
    with gzip.open(work.file(SHAKESPEARE), "rt", encoding="utf-8") as lines:
        return lines.read()


def run_trifold(work: Work) -> Measured:
    """The whole of `trifold pretrain`: tokenizer, training, checkpoints and judging on all that is held out."""
    size, shape = ("tiny", {}) if work.smoke else ("mini", {"num_kv_heads": 4, "d_ff": 688})
    with tempfile.TemporaryDirectory() as out:
        path = Path(out) / "text.txt"
        path.write_text(text_of(work), encoding="utf-8")
        experiment = Experiment(
            model=ModelChoice(preset="llama", size=size, overrides={**shape, "max_length": 256, "dropout": 0.1}),
            tokenizer=TokenizerChoice(kind="character", vocab_size=256),
            data=DataChoice(paths=(str(path),), valid_fraction=0.1, held_out="end"),
            training=Training(
                steps=work.pick(full=1300, smoke=2),
                length=256,
                batch_size=work.pick(full=16, smoke=2),
                device=work.device,  # type: ignore[arg-type]
                optimizer=Muon(lr=6e-3, adamw=AdamW(lr=4e-3, weight_decay=0.0)),
                schedule=Schedule(kind="linear", warmup=0.02),
            ),
        )
        start = time.perf_counter()
        result = pretrain(experiment, Path(out) / "run")
        seconds = time.perf_counter() - start
    assert result.valid is not None, "a tenth is held out"
    seconds_file(work).write_text(str(seconds), encoding="utf-8")
    return measured(seconds, result.valid.loss, result.steps)


def run_nanogpt(work: Work) -> Measured:
    """Its own setting for this text, until it is there or `PATIENCE` has run out; compiling and judging are not counted."""
    text = text_of(work)
    known = {letter: number for number, letter in enumerate(sorted(set(text)))}
    ids = torch.tensor([known[letter] for letter in text])
    train, held_out = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
    length, rows = work.pick(full=256, smoke=64), work.pick(full=64, smoke=2)
    model = nanogpt.build(work, words=len(known), length=length, dropout=0.2)
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), work.device)
    patience = PATIENCE * float(seconds_file(work).read_text(encoding="utf-8"))
    training = nanogpt.train(work, model, optimizer, train, rows=rows, length=length)
    step, seconds, loss = 0, 0.0, math.inf
    while loss > TARGET and seconds < patience:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        start = time.perf_counter()
        next(training)
        step += 1
        if step > 1:
            seconds += time.perf_counter() - start
        if step % EVALUATE_EVERY == 0 or seconds >= patience:
            loss = nanogpt.held_out_loss(work, model, held_out, rows=rows, length=length)
    return measured(seconds, loss, step)


def learning_rate(step: int) -> float:
    """Its schedule: up over 100 steps, then down along a cosine to a tenth at step 5,000.

    Example:
        >>> learning_rate(100), round(learning_rate(5000), 6)
        (0.001, 0.0001)
    """
    if step < 100:
        return 1e-3 * (step + 1) / 101
    done = min((step - 100) / 4900, 1.0)
    return 1e-4 + 0.5 * (1.0 + math.cos(math.pi * done)) * 9e-4


def seconds_file(work: Work) -> Path:
    """Where our turn leaves its time for the others."""
    return work.place("seconds")


def measured(seconds: float, loss: float, steps: int) -> Measured:
    """One run, and whether it got there."""
    note = f"{seconds / 60:.1f} min, {steps} steps" + ("" if loss <= TARGET else ", not there")
    return Measured(amount=1, seconds=seconds, quality=loss, note=note)


BENCHMARK = Benchmark(
    name="shakespeare",
    title=f"training until Tiny Shakespeare, by characters, has a held-out loss of {TARGET}",
    title_zh=f"训练到字符级 Tiny Shakespeare 的留出损失降至 {TARGET}",
    unit="runs",
    quality="loss",
    files=(SHAKESPEARE,),
    rounds=1,
    sides=(
        Side(name="trifold", run=run_trifold),
        Side(name="nanoGPT", run=run_nanogpt, checkout="nanogpt", bar=BAR),
    ),
)
