"""What every task offers; the trainer, the evaluation and the command line know no more.

A kind of task is one file with two classes: a configuration, which says what a task is before there is a model, and the
task itself, for one tokenizer and one shape of model. Both say nothing about what they do not need.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from trifold.batch import IGNORED, Batch, Loss
from trifold.config import Config
from trifold.data.rows import Row
from trifold.errors import UsageError
from trifold.evaluation.metric import Tally
from trifold.example import TrainingExample
from trifold.generation import Generator, Sampling
from trifold.generation.generator import evaluating
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.presets.task_class import Outputs
from trifold.tasks.frame import Frame, inference_batches
from trifold.tasks.head import HeadWanted
from trifold.tasks.record import Columns, Placed, Record, Role
from trifold.text import Tokenizer
from trifold.text.training import Kind as TokenizerKind

__all__ = ["Folder", "Labels", "Prediction", "Task", "TaskConfig", "run_places"]

Labels = Sequence[tuple[str, ...] | None]
"""The labels of each row; None for a row that lacks its label, or whose label is damaged."""


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


@dataclass(frozen=True, slots=True)
class Folder:
    """A model of somebody else's, of which a kind of task may say that it is for it.

    Attributes:
        path: where it is.
        model: in the class that its configuration names.
        max_length: tokens that its tokenizer cuts texts to.
        pools: whether it says how the vectors of texts are pooled.
    """

    path: Path
    model: Pretrained
    max_length: int
    pools: bool

    @property
    def outputs(self) -> Outputs | None:
        """What its head says; None without one, or where the vectors are what it is for."""
        return None if self.pools else self.model.outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskConfig(Config):
    """What a task is, before there is a model: which columns it reads, and what its training rows fill in.

    Attributes:
        kind: its name in the list of tasks.
        family: the preset to start from, with random weights, where no model is named.
        tokenizer_kind: what is trained where none is named, for a model of random weights.
        lowercase: whether that one lower-cases all text, where nobody says.
        roles: the columns it reads.
        tagged: whether files of one token a line, with empty lines between sentences, are read as its rows.
        classifies: whether it says what a text is, one way or another: what `classify` is for.
        less_is_better: whether less is better of what chooses the weights unless another metric is named.
        from_scratch: whether a model of random weights can learn all that it needs from the examples: how large it is, and
            how long it is trained, then follow from them.
    """

    family: ClassVar[str] = "bert"
    tokenizer_kind: ClassVar[TokenizerKind] = "byte_bpe"
    lowercase: ClassVar[bool] = False
    roles: ClassVar[tuple[Role, ...]] = ()
    tagged: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    less_is_better: ClassVar[bool] = False
    from_scratch: ClassVar[bool] = False

    kind: str

    @property
    def no_model(self) -> str:
        """Name of the message that says what it is to start without a trained model."""
        return "cli.family_chosen"

    @property
    def may_lack_label(self) -> bool:
        """Whether a row without a label says that there is none, instead of that nobody knows."""
        return False

    @classmethod
    def row_of(cls, parts: Sequence[Any]) -> dict[str, Any] | None:
        """The parts of an example by role, in their order: the needed roles, or all; None where the numbers differ."""
        needed = [role.name for role in cls.roles if role.needed]
        every = [role.name for role in cls.roles]
        return next(
            (dict(zip(names, parts, strict=True)) for names in (needed, every) if len(names) == len(parts)), None
        )

    def named_by_files(self, columns: Mapping[str, Columns]) -> "TaskConfig":
        """With the names of integer labels that files give themselves, unless the user did."""
        del columns
        return self

    def started_from(self, start: str | None) -> "TaskConfig":
        """With what the folder that a run starts from says of the task.

        Raises:
            ModelFileError: the folder asks for what is not computed here.
        """
        del start
        return self

    def complete(self, rows: Sequence[Placed]) -> "tuple[TaskConfig, list[float] | None]":
        """With what the training rows say, such as their labels; and class weights where they are asked for.

        Raises:
            DataError: there is nothing to tell apart, such as only one label.
        """
        del rows
        return self, None

    def labels_in(self, rows: Sequence[Placed]) -> Labels:
        """The labels that occur in each row, so that all are trained on; none where rows are not labelled by a few."""
        return [()] * len(rows)

    def notes(self, wanted: "TaskConfig") -> list[str]:
        """What was taken from the training data that a person should know, compared with what was wanted."""
        del wanted
        return []

    def settle(self, tokenizer: Tokenizer, model: Pretrained) -> "tuple[TaskConfig, Pretrained, list[str]]":
        """With what is to be saved beside the model; the model, larger where there are new tokens; and these tokens."""
        del tokenizer
        return self, model, []

    def agree(self, model: Pretrained) -> "TaskConfig":
        """In the terms of the head that a model has or gets, where it can be said in them."""
        del model
        return self

    def opened(self, model: Pretrained, tokenizer: Tokenizer, path: str | Path) -> "TaskConfig":
        """As a finished run from before some setting was kept means it.

        Raises:
            ModelFileError: nobody can know what it means.
        """
        del model, tokenizer, path
        return self

    @classmethod
    def found_in(cls, folder: Folder) -> "TaskConfig | None":
        """What a folder that nobody tuned here is for; None where it is not for this kind of task."""
        del folder
        return None

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "Task[Any]":
        """The task for a tokenizer and a shape of model.

        Raises:
            ConfigError: the configuration lacks labels, or the model what the task needs.
        """
        raise NotImplementedError


C = TypeVar("C", bound=TaskConfig)
T = TypeVar("T", bound="Task[Any]")


class Task(ABC, Generic[C]):
    """One task with its labels, for one tokenizer and one shape of model.

    Args:
        config: all that must be saved to use the model later.
        tokenizer: the model's.
        frame: how texts are laid before the model.

    Attributes:
        metrics: names of what `measure` gives, of which the first chooses the weights unless another is named.
        head: the head that it reads; None for a task that uses the language-model head.
        needs_segments: whether it marks the parts of a pair also for a family that has no segments.
        writes: whether each place is multiplied with the vocabulary.
        translates: whether what it should write is a text like those it reads, in another language.
    """

    metrics: tuple[str, ...]
    head: HeadWanted | None = None
    needs_segments: bool = False
    writes: ClassVar[bool] = False
    translates: ClassVar[bool] = False

    def __init__(self, config: C, tokenizer: Tokenizer, frame: Frame) -> None:
        self.config, self.tokenizer, self.frame = config, tokenizer, frame

    @classmethod
    def of(cls: type[T], task: "Task[Any] | None") -> T:  # noqa: PYI019 - the checker of the tests knows no Self
        """The same task, which is known to be of this kind."""
        assert isinstance(task, cls), f"of the kind of {cls.__name__}"
        return task

    @property
    def roles(self) -> tuple[Role, ...]:
        """The columns it reads."""
        return self.config.roles

    @property
    def default_metric(self) -> str:
        """What chooses the weights unless another is named: a metric, or `loss` where metrics take long."""
        return self.metrics[0]

    @property
    def from_start(self) -> bool:
        """Whether what a run begins with can be the best of it."""
        return False

    @property
    def longest_text(self) -> int | None:
        """Most tokens of a prompt and what is written after it; None for what the model allows."""
        return None

    @abstractmethod
    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """The record in a row, with what should be said where the row has it."""

    def question(self, row: Row, columns: Mapping[str, str]) -> Record:
        """The record in a row whose answer nobody gives."""
        return self.record(row, columns)

    def place(self, texts: Sequence[str], origin: str) -> Placed:
        """A row of texts that a program gives, in the order of the columns.

        Raises:
            UsageError: there are more texts than the task reads.
        """
        known = self.text_roles
        if len(texts) > len(known):
            raise UsageError("task.many_texts", given=len(texts), known=", ".join(known))
        names = known[: len(texts)]
        return Row(dict(zip(names, texts, strict=True)), origin), {name: name for name in names}

    def made_up_row(self) -> dict[str, Any]:
        """Values by role of a row that the task can read, with an answer that it knows."""
        read, said = (next(role.name for role in self.roles if role.label == label) for label in (False, True))
        return {
            role.name: "the answer" if role.label else "the text to read, and the answer"
            for role in self.roles
            if role.needed or role.name in (read, said)
        }

    @property
    def text_roles(self) -> list[str]:
        """What texts without a name are, in order."""
        return [role.name for role in self.roles if not role.label]

    def read_prompt(self, prompt: str, sampling: Sampling) -> tuple[str | list[int], int]:
        """What the model reads of a prompt, and how many of its tokens had no room."""
        del sampling
        return prompt, 0

    def writer(self, model: Pretrained) -> Generator:
        """What writes texts with the model.

        Raises:
            UsageError: the model writes none.
        """
        return Generator.by_rules(model, self.tokenizer)

    def build_parts(self, model: model_config.Transformer) -> Mapping[str, nn.Module]:
        """Fresh parts beside the head, by name."""
        del model
        return {}

    def remarks(self) -> list[str]:
        """What to say about the task before it is trained."""
        return []

    def generation(self, before: dict[str, Any]) -> dict[str, Any]:
        """The generation configuration that a model tuned for the task is saved with, from the one it had."""
        return before

    def before(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """What the model says before it is tuned, where it can say anything."""
        del model, records
        return []

    @abstractmethod
    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Training examples with their gold labels, one tuple a record."""

    def training_examples(self, model: Pretrained, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Examples to train on, perhaps more than there are records; a task may fit a part of the model to them before."""
        del model
        return self.examples(records)

    @abstractmethod
    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """The summed loss of a batch."""

    @abstractmethod
    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """What the model says about each record."""

    @abstractmethod
    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """Metrics by name."""

    def calibrate(self, model: Pretrained, dev: Sequence[Record]) -> None:
        """Learn from records that were not trained on what training does not teach, such as when to be silent."""

    def fold(self, model: Pretrained) -> None:
        """Let a finished model say by itself what other tools expect it to."""

    def write_beside(self, folder: Path, width: int) -> None:
        """Write what other libraries need beside the model's own files."""

    def baselines(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
        """What costs nothing says about the same records, by name."""
        del train, test
        return {}

    def judge(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """What is worth saying about predictions beside metrics, as JSON data; `worst` replaces the surest errors."""
        del records, predictions
        return {}

    def samples(self, model: Pretrained, records: Sequence[Record], said: Sequence[Prediction]) -> Sequence[Prediction]:
        """Texts of the model's own about a few records, of what it said of all; nothing where it writes none."""
        del model, records, said
        return ()


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
    sizes = [int((example.labels != IGNORED).sum()) for example in examples]
    outputs: list[Tensor] = [torch.empty(0)] * len(examples)
    with evaluating(model), torch.inference_mode():
        for batch, numbers in inference_batches(examples, pad):
            there = see(batch.to(device))
            values = read(model(there), there).cpu()
            for number, output in zip(numbers, values.split([sizes[number] for number in numbers]), strict=True):
                outputs[number] = output
    return outputs
