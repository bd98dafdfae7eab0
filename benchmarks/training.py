"""One training step of a tiny model of each family: tokens a second in bfloat16 copies and in float32."""

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import trifold
from benchmarks.timing import best_seconds
from trifold.batch import Batch, Layout, Loss
from trifold.objective.objective import language_model_loss
from trifold.training import Trainer, Training

VOCAB, ROWS, LENGTH = 8000, 16, 256


class NextToken:
    """The loss of every target token."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed over the batch."""
        return language_model_loss(model, batch)


class Dice:
    """Batches of random tokens, with a source where the model has an encoder beside its decoder."""

    def __init__(self, *, source: bool) -> None:
        self.source = source

    def _tokens(self) -> Tensor:
        return torch.randint(0, VOCAB, (ROWS, LENGTH))

    def __iter__(self) -> Iterator[Batch]:
        layout = Layout.whole(ROWS, LENGTH)
        while True:
            source = {"source": self._tokens(), "source_layout": layout} if self.source else {}
            yield Batch(target=self._tokens(), target_layout=layout, labels=self._tokens(), **source)

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take."""


def measure(preset: str, dtype: str) -> float:
    """Target tokens a second."""
    model = trifold.Transformer.from_preset(preset, size="tiny", vocab_size=VOCAB)
    steps = Trainer(model, NextToken(), Dice(source=preset == "t5"), Training(steps=1000, dtype=dtype)).steps()
    return ROWS * LENGTH / best_seconds(lambda: next(steps), tries=5)


def main() -> None:
    """A line for each family."""
    sys.stdout.write(f"training, {ROWS} rows of {LENGTH}: tokens/s in bfloat16, float32, ratio\n")
    for preset in ("gpt2", "llama", "t5"):
        half, full = measure(preset, "bfloat16"), measure(preset, "float32")
        sys.stdout.write(f"  {preset}: {half:,.0f} {full:,.0f} {half / full:.2f}\n")
