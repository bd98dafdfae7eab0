"""How cost grows: the same step at several contexts, batches, sizes of model, threads, and sizes of corpus."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.corpus import run_trifold as run_corpus
from benchmarks.step import count_matrices, time_trainer
from benchmarks.text import WIKIPEDIA
from benchmarks.work import Benchmark, Measured, Side, Work
from trifold.batch import Batch, Layout, Loss
from trifold.model import Transformer as Core
from trifold.objective.objective import language_model_loss
from trifold.presets.pretrained import Transformer
from trifold.training import AdamW, Schedule, Training
from trifold.training.trainer import Trainer

__all__ = ["BATCH", "CONTEXT", "CORPUS", "SIZE", "THREADS"]

VOCABULARY, TOKENS = 8000, 8192
SMALL = {"num_layers": 4, "d_model": 256, "num_heads": 4}
SIZES: dict[str, dict[str, int]] = {
    "1 M": {"num_layers": 4, "d_model": 96, "num_heads": 3, "vocab_size": 4000},
    "5 M": SMALL,
    "14 M": {"num_layers": 6, "d_model": 384, "num_heads": 6},
    "44 M": {"num_layers": 10, "d_model": 576, "num_heads": 9},
    "124 M": {"num_layers": 12, "d_model": 768, "num_heads": 12, "vocab_size": 50257},
}


class NextToken:
    """The loss of every token."""

    def loss(self, model: Core, batch: Batch) -> Loss:
        """Summed over the batch."""
        return language_model_loss(model, batch)


class Dice:
    """Batches of random tokens, whole rows.

    Args:
        rows, length: of a batch.
        words: how many different tokens.
    """

    def __init__(self, rows: int, length: int, words: int) -> None:
        self.shape, self.words = (rows, length), words

    def __iter__(self) -> Iterator[Batch]:
        layout = Layout.whole(*self.shape)
        while True:
            tokens, labels = (torch.randint(0, self.words, self.shape) for _ in range(2))
            yield Batch(target=tokens, target_layout=layout, labels=labels)

    def state_dict(self) -> dict[str, int]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Nothing to take."""


def train(work: Work, *, shape: Mapping[str, int], rows: int, length: int, threads: int | None = None) -> Measured:
    """Steps of a decoder of the Llama shape."""
    if threads is not None:
        torch.set_num_threads(threads)
    if work.smoke:
        shape, rows, length = {}, min(rows, 2), min(length, 16)
    overrides: dict[str, Any] = {"vocab_size": VOCABULARY, "max_length": length, **shape}
    if "num_heads" in overrides:
        overrides["num_kv_heads"] = overrides["num_heads"]
    model = Transformer.from_preset("llama", size="tiny", **overrides)
    steps = 2 if work.smoke else max(3, min(12, 3 * TOKENS // (rows * length)))
    training = Training(
        steps=steps,
        optimizer=AdamW(),
        device=work.device,  # type: ignore[arg-type]
        schedule=Schedule(kind="constant", warmup=0.0),
    )
    trainer = Trainer(model, NextToken(), Dice(rows, length, overrides["vocab_size"]), training)
    found = time_trainer(trainer, warm=1, parameters=count_matrices(model, head=True))
    return replace(found, quality=None, note=f"{model.num_parameters() / 1e6:.1f} M, {rows} x {length}")


def _points(name: str, titles: tuple[str, str], axis: str, points: Mapping[str, Mapping[str, Any]]) -> Benchmark:
    sides = tuple(
        Side(name=point, run=partial(train, **options), size=float(point.split()[0].replace(",", "")))
        for point, options in points.items()
    )
    english, chinese = titles
    return Benchmark(name=name, title=english, title_zh=chinese, unit="tokens", sides=sides, rounds=2, axis=axis)


CONTEXT = _points(
    "context",
    (
        f"training by context, {TOKENS:,} tokens a step",
        f"训练速度随上下文长度的变化：每步 {TOKENS:,} 个词元",
    ),
    "context (tokens)",
    {f"{length:,}": {"shape": SMALL, "rows": TOKENS // length, "length": length} for length in (128, 512, 2048, 8192)},
)
BATCH = _points(
    "rows",
    (
        "training by rows of 256 in a step",
        "训练速度随每步行数的变化：每行 256 个词元",
    ),
    "rows in a step",
    {str(rows): {"shape": SMALL, "rows": rows, "length": 256} for rows in (1, 4, 16, 64)},
)
SIZE = _points(
    "size",
    ("training by size of the model, 4 rows of 256", "训练速度随模型大小的变化：4 行，每行 256 个词元"),
    "million parameters",
    {name: {"shape": shape, "rows": 4, "length": 256} for name, shape in SIZES.items()},
)
THREADS = _points(
    "threads",
    (
        "training by threads, 16 rows of 256",
        "训练速度随线程数的变化：16 行，每行 256 个词元",
    ),
    "threads",
    {str(count): {"shape": SMALL, "rows": 16, "length": 256, "threads": count} for count in (1, 2)},
)
CORPUS = Benchmark(
    name="text",
    title="tokenizing and packing by size of corpus",
    title_zh="语料越大，分词与打包的速度",
    unit="tokens",
    files=(WIKIPEDIA,),
    sides=tuple(
        Side(name=f"{millions} MB", run=partial(run_corpus, characters=millions * 1_000_000), size=millions)
        for millions in (1, 20, 200)
    ),
    rounds=1,
    axis="MB of text",
)
