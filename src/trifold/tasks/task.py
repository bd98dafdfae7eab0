"""What every task offers; the trainer, the evaluation and the command line know no more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from trifold.batch import IGNORED, Batch
from trifold.data.rows import Row
from trifold.evaluation.metric import Tally
from trifold.example import TrainingExample
from trifold.generation.generator import evaluating
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.objective import Criterion
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.config import TaskConfig
from trifold.tasks.frame import Frame, inference_batches
from trifold.tasks.head import HeadWanted
from trifold.tasks.record import Record, Role

__all__ = ["Prediction", "Task", "run_places"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model said about one record.

    Attributes:
        answer: label, labels, tags, text or vector.
        confidence: probability of the answer, where the task has one.
        logits: scores of all labels, where there are few; for calibration.
        details: what else a program may want, as JSON data.

    Example:
        >>> Prediction("positive", confidence=0.9).answer
        'positive'
    """

    answer: Any
    confidence: float | None = None
    logits: tuple[float, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Task(Criterion, Protocol):
    """One task with its labels, for one tokenizer and one shape of model.

    Attributes:
        config: all that must be saved to use the model later.
        frame: how texts are laid before the model.
        roles: the columns it reads.
        metrics: names of what `measure` gives, of which the first chooses the weights unless another is named.
        needs_segments: whether it marks the parts of a pair also for a family that has no segments.
    """

    @property
    def config(self) -> TaskConfig:
        """All that must be saved."""
        ...

    @property
    def frame(self) -> Frame:
        """How texts are laid."""
        ...

    @property
    def roles(self) -> tuple[Role, ...]:
        """The columns."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what `measure` gives."""
        ...

    @property
    def needs_segments(self) -> bool:
        """Whether it marks the parts of a pair for any family."""
        ...

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """The record in a row."""
        ...

    @property
    def head(self) -> HeadWanted | None:
        """The head that it reads; None for a task that uses the language-model head."""
        ...

    def build_parts(self, model: model_config.Transformer) -> Mapping[str, nn.Module]:
        """Fresh parts beside the head, by name."""
        ...

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Training examples with their gold labels, one tuple a record."""
        ...

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """What the model says about each record."""
        ...

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """Metrics by name; the first decides which checkpoint is best."""
        ...


def run_places(
    model: Transformer,
    examples: Sequence[TrainingExample],
    pad: int,
    read: Callable[[Tensor, Batch], Tensor],
    *,
    see: Callable[[Batch], Batch] = lambda batch: batch,
) -> list[Tensor]:
    """What `read` finds at the labelled places of each example, whatever else was in its batch.

    Args:
        model: put in evaluation mode for the time.
        examples: with labels at the places that matter.
        pad: id of the padding token.
        read: hidden states and batch to one value for each labelled place, in reading order.
        see: what the model is to be told about a batch beside its tokens.

    Returns:
        For each example a tensor whose first axis are its labelled places.
    """
    device = next(model.parameters()).device
    sizes = [int((one.labels != IGNORED).sum()) for one in examples]
    found: list[Tensor] = [torch.empty(0)] * len(examples)
    with evaluating(model), torch.inference_mode():
        for batch, numbers in inference_batches(examples, pad):
            there = see(batch.to(device))
            values = read(model(there), there).cpu()
            for number, part in zip(numbers, values.split([sizes[number] for number in numbers]), strict=True):
                found[number] = part
    return found
