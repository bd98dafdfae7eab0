"""What an experiment will cost on this machine: counted from its configuration, timed by a few real steps."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from trifold.data.source import list_files
from trifold.text import Tokenizer
from trifold.training import Experiment
from trifold.training.fit import bytes_per_token
from trifold.training.plan import (
    available_memory,
    count_parameters,
    estimate_memory,
    require_memory,
    training_flops,
)
from trifold.training.precision import choose_device, choose_dtype
from trifold.training.prepare import shape_of
from trifold.training.timing import count_steps, places_of, step_seconds

__all__ = ["Forecast", "forecast"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run needs.

    Attributes:
        parameters: in all; those of the embedding, the encoder, the decoder and the head follow.
        flops: operations of the whole run; None where its length is given in minutes and nothing was measured.
        memory: bytes at the peak; those available beside it.
        step_seconds: of one optimizer step, measured; None where that was not wanted.
        steps, target_tokens, seconds: of the whole run.
        epochs: how often the text is read; None where its size is not known.
    """

    parameters: int
    embedding: int
    encoder: int
    decoder: int
    head: int
    memory: int
    available_bytes: int
    step_flops: float
    step_seconds: float | None
    steps: int | None
    target_tokens: int | None
    flops: float | None
    seconds: float | None
    epochs: float | None

    def as_dict(self) -> dict[str, float | int | None]:
        """All numbers by name."""
        return asdict(self)


def forecast(experiment: Experiment, *, measure: bool = True, tokenizer: Tokenizer | None = None) -> Forecast:
    """Count, and time a few steps on random tokens of the right shape.

    Args:
        experiment: the run.
        measure: time steps; without it, a length in minutes tells no number of steps.
        tokenizer: the one that is used; None before there is one.

    Raises:
        CapacityError: the model does not fit in memory.
        ConfigError: the experiment is not possible.
    """
    shape = shape_of(experiment, tokenizer)
    places = places_of(experiment, shape)
    training = experiment.training
    device = choose_device(training.device)
    lean = choose_dtype(training.dtype, device) is torch.bfloat16
    need = estimate_memory(
        shape,
        places,
        dtype="bfloat16" if lean else "float32",
        optimizer=training.optimizer.kind,
        checkpointing=training.gradient_checkpointing,
    )
    free = available_memory()
    require_memory(need, free)
    count = count_parameters(shape)
    row = training_flops(shape, places, checkpointing=training.gradient_checkpointing)
    step_flops = row * training.batch_size * training.accumulation
    timed = step_seconds(experiment, shape, places) if measure else None
    labels = places.labels * training.batch_size * training.accumulation
    steps = count_steps(training, places, timed)
    size = _size(experiment)
    main = (places.source or places.target) * training.batch_size * training.accumulation
    return Forecast(
        parameters=count.total,
        embedding=count.embedding,
        encoder=count.encoder,
        decoder=count.decoder,
        head=count.head,
        memory=need.total,
        available_bytes=free,
        step_flops=step_flops,
        step_seconds=timed,
        steps=steps,
        target_tokens=None if steps is None else steps * labels,
        flops=None if steps is None else steps * step_flops,
        seconds=None if timed is None or steps is None else steps * timed,
        epochs=None if size is None or steps is None else steps * main * bytes_per_token(shape.vocab_size) / size,
    )


def _size(experiment: Experiment) -> int | None:
    """Bytes of the training text, by the size of its files; None where that is not known (hub, standard input, packed)."""
    total = 0
    for name in experiment.data.paths:
        path = Path(name)
        files = list_files(path) if path.is_dir() else [path]
        if not all(file.is_file() and file.suffix not in (".gz", ".zst", ".parquet") for file in files):
            return None
        total += sum(file.stat().st_size for file in files)
    return total or None
