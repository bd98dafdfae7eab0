"""What an experiment will cost on this machine: counted from its configuration, timed by a few real steps."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from trifold.batch import Batch, Layout
from trifold.data.source import list_files
from trifold.model import config as model_config
from trifold.objective import config as objectives
from trifold.objective.objective import language_model_loss
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer
from trifold.training import Experiment, Trainer
from trifold.training.plan import (
    Shape,
    available_memory,
    count_parameters,
    estimate_memory,
    require_memory,
    training_flops,
)
from trifold.training.precision import choose_device, choose_dtype
from trifold.training.prepare import choose_model

__all__ = ["Forecast", "forecast"]

BYTES_PER_TOKEN = 3.6
"""Of byte-level BPE with some 8,000 tokens, English and Chinese alike (measured); used before there is a tokenizer."""
STEPS, WARM = 3, 1


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
    shape = _shape(experiment, tokenizer)
    places = _places(experiment, shape)
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
    timed = _time(experiment, shape, places) if measure else None
    labels = places.labels * training.batch_size * training.accumulation
    steps = _steps(experiment, timed, labels)
    tokens = _size(experiment)
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
        epochs=None if tokens is None or steps is None else steps * main / tokens,
    )


def _shape(experiment: Experiment, tokenizer: Tokenizer | None) -> model_config.Transformer:
    if experiment.model.start is not None:
        return Transformer.from_pretrained(experiment.model.start).config
    size = experiment.tokenizer.vocab_size
    if tokenizer is not None:
        size = tokenizer.vocab_size
    elif experiment.tokenizer.path is not None:
        size = Tokenizer.from_pretrained(experiment.tokenizer.path).vocab_size
    return choose_model(experiment.model, size)[2]


def _places(experiment: Experiment, shape: model_config.Transformer) -> Shape:
    """Places and labels in a full row."""
    length, wanted = experiment.training.length, experiment.objective
    source = length if shape.encoder is not None else 0
    target, labels = (length if shape.decoder is not None else 0), length
    if isinstance(wanted, objectives.Masked):
        labels = math.ceil(length * wanted.rate)
    if source and target:
        if isinstance(wanted, objectives.Denoising):
            raw = length / (1 - wanted.rate * (1 - 1 / wanted.mean_span))
            target = math.ceil(raw * wanted.rate * (1 + 1 / wanted.mean_span)) + 2
        target = experiment.training.target_length or target
        labels = target
    return Shape(rows=experiment.training.batch_size, source=source, target=target, labels=labels)


class _Random:
    """The same batch of random tokens, again and again."""

    def __init__(self, shape: model_config.Transformer, places: Shape) -> None:
        generator = torch.Generator().manual_seed(0)

        def side(length: int) -> tuple[torch.Tensor | None, Layout | None]:
            if not length:
                return None, None
            tokens = torch.randint(0, shape.vocab_size, (places.rows, length), generator=generator)
            return tokens, Layout.whole(places.rows, length)

        (source, source_layout), (target, target_layout) = side(places.source), side(places.target)
        width = places.target or places.source
        labels = torch.full((places.rows, width), -100)
        labels[:, : places.labels] = torch.randint(
            0, shape.vocab_size, (places.rows, places.labels), generator=generator
        )
        self.batch = Batch(source, target, source_layout, target_layout, labels)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.batch

    def state_dict(self) -> dict[str, int]:
        """It has no place."""
        return {}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """It has no place."""


class _Loss:
    """The loss that all objectives share."""

    kind = "forecast"
    loss = staticmethod(language_model_loss)


def _time(experiment: Experiment, shape: model_config.Transformer, places: Shape) -> float:
    """Seconds of an optimizer step, the best of a few: what the machine does when nobody disturbs it."""
    training = replace(
        experiment.training, steps=STEPS + WARM, tokens=None, minutes=None, compile=False, tensorboard=False
    )
    trainer = Trainer(Transformer(shape), _Loss(), _Random(shape, places), training)  # type: ignore[arg-type]
    marks = [step.seconds for step in trainer.steps()]
    return min(later - earlier for earlier, later in zip(marks[WARM - 1 :], marks[WARM:], strict=False))


def _steps(experiment: Experiment, timed: float | None, labels: int) -> int | None:
    training = experiment.training
    if training.steps is not None:
        return training.steps
    if training.tokens is not None:
        return math.ceil(training.tokens / labels)
    return None if timed is None or training.minutes is None else int(training.minutes * 60 / timed)


def _size(experiment: Experiment) -> float | None:
    """Tokens of the training text, by the size of its files; None where that is not known (hub, standard input, packed)."""
    total = 0
    for name in experiment.data.paths:
        path = Path(name)
        files = list_files(path) if path.is_dir() else [path]
        if not all(file.is_file() and file.suffix not in (".gz", ".zst", ".parquet") for file in files):
            return None
        total += sum(file.stat().st_size for file in files)
    return total / BYTES_PER_TOKEN if total else None
