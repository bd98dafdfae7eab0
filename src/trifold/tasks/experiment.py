"""A whole fine-tuning run as one value."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Interval

from trifold.config import Chance, Config, Natural, PathText, Positive, require
from trifold.tasks.any_task import AnyTask
from trifold.tasks.classification import Classification
from trifold.tasks.saved import task_as_meant
from trifold.training import AdamW, ModelChoice, Schedule, TokenizerChoice, Training

__all__ = ["TRAINING", "FineTuning", "LabelledData", "LowRank", "Reading"]


TRAINING = Training(
    steps=1,
    batch_size=32,
    optimizer=AdamW(lr=5e-4, weight_decay=0.01, betas=(0.9, 0.98)),
    schedule=Schedule(kind="linear", warmup=0.1),
    evaluate_every=0,
    evaluate_rows=2000,
    checkpoint_every=0,
)
"""How fine-tuning trains unless told otherwise; its length is in `FineTuning.epochs`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading(Config):
    """How labelled examples are read.

    Attributes:
        columns: column of each role (`text`, `label`, `source` ...); those not named are found by their usual names.
        on_error: a damaged row (an unknown label, tags that do not fit) stops the run, or is left out and counted; rows
            without a text or a label are left out and counted always. `replace` is `skip`, but bytes that cannot be
            decoded are read as U+FFFD.
        encoding: of files without a byte order mark.

    Example:
        >>> Reading().on_error
        'strict'
    """

    columns: dict[str, str] = field(default_factory=dict)
    on_error: Literal["strict", "skip", "replace"] = "strict"
    encoding: str = "utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledData(Reading):
    """Which examples to train on, to choose by and to judge on.

    Attributes:
        train: file of training examples, or several; the columns of each are found by themselves. Empty where `finetune`
            is given the examples themselves.
        dev: file to choose the best weights by, or several; None: a part of `train`.
        test: file to judge on, or several; None: judged on `dev`, which is then a little too kind.
        dev_fraction, test_fraction: how much of `train` is held out where there is no `dev`, no `test`.
        group: column whose equal values are held out together, such as the context of several questions.

    Example:
        >>> LabelledData(train="train.tsv").dev is None
        True
    """

    train: PathText | tuple[PathText, ...] = ()
    dev: PathText | tuple[PathText, ...] | None = None
    test: PathText | tuple[PathText, ...] | None = None
    dev_fraction: Chance = 0.1
    test_fraction: Chance = 0.0
    group: str | None = None

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The files of each split that is given."""
        given = (("train", self.train), ("dev", self.dev), ("test", self.test))
        return {name: (files,) if isinstance(files, str) else files for name, files in given if files}


@dataclass(frozen=True, kw_only=True, slots=True)
class LowRank(Config):
    """LoRA: train small differences to frozen matrices (Hu et al. 2022).

    Attributes:
        rank: inner width of each difference.
        alpha: its scale; None for twice the rank.
        targets: names of the projections that get one.
        dropout: of the adapters' input.
        keep: `adapter` also writes `adapter/` into the run, which the peft library opens on the model that it started
            from; the run itself is the merged model either way.

    Example:
        >>> LowRank(rank=8).targets[0]
        'q_proj'
    """

    rank: Annotated[int, Interval(ge=1, le=4096)]
    alpha: Positive | None = None
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj")
    dropout: Chance = 0.0
    keep: Literal["merged", "adapter"] = "merged"


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuning(Config):
    """A whole run.

    Attributes:
        model: what to start from.
        data: the examples.
        task: what to learn.
        tokenizer: for a model that starts from random weights; otherwise it is the model's own. Its kind is the task's,
            unless it is named.
        training: how; `batch_size` counts examples, `evaluate_every` 0 spreads as many evaluations over the run as take a
            tenth of its time, on at most `evaluate_rows` examples (`trifold.tasks.pace`), and the length of the run is
            `epochs` unless that is None.
        epochs: how often to see each example; None: `training` says how long.
        lora: train adapters only; None to train all weights.
        freeze: how many of the lowest blocks stay as they are, with the embedding; 0 for none.
        metric: which of the task's metrics, or `loss`, chooses the weights; None: the task's first, for translation and
            beside a linear model of runs of tokens the loss. Among equals the lower loss decides.
        patience: stop after so many evaluations without a better one; 0 never stops early, None after a third of those
            that the run would have.

    Example:
        >>> FineTuning(model=ModelChoice(start="runs/bert"), data=LabelledData(train="a.tsv")).task.kind
        'classification'
    """

    model: ModelChoice
    data: LabelledData = LabelledData()
    task: AnyTask = Classification()  # noqa: RUF009 - frozen
    tokenizer: TokenizerChoice = TokenizerChoice()  # noqa: RUF009 - frozen
    training: Training = TRAINING
    epochs: Positive | None = 3.0
    lora: LowRank | None = None
    freeze: Natural = 0
    metric: str | None = None
    patience: Natural | None = 0

    @classmethod
    def as_meant(cls, saved: Any) -> Any:
        """With the settings of the task that earlier versions did not have, and did not write down."""
        return task_as_meant(saved)

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        tokenizer = self.tokenizer.settled(self.task.tokenizer_kind, lowercase=self.task.lowercase)
        object.__setattr__(self, "tokenizer", tokenizer)
        drawn = self.model.embedding == "random"
        require(drawn, where="model.embedding", given=self.model.embedding, allowed="random; pre-training can count it")
        both = self.lora is None or self.freeze == 0
        require(both, where="freeze", given=self.freeze, allowed="0 with lora, which freezes everything")
        if self.lora is not None:
            fits = self.lora.keep == "merged" or self.model.start is not None
            require(fits, where="lora.keep", given=self.lora.keep, allowed="merged without --model (nothing to add to)")
