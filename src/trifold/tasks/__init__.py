"""Fine-tuning and using models for tasks: one protocol, one trainer, one way to judge."""

from trifold.tasks.build import build_task, is_fine_tuned
from trifold.tasks.config import (
    Classification,
    Embedding,
    Generation,
    Regression,
    SpanQA,
    Tagging,
    Translation,
)
from trifold.tasks.experiment import FineTuning, LabelledData, LowRank
from trifold.tasks.finetune import FineTuneResult, finetune
from trifold.tasks.judge import compare, judge
from trifold.tasks.loaded import LoadedModel, load
from trifold.tasks.record import Record
from trifold.tasks.task import Prediction, Task

__all__ = [
    "Classification",
    "Embedding",
    "FineTuneResult",
    "FineTuning",
    "Generation",
    "LabelledData",
    "LoadedModel",
    "LowRank",
    "Prediction",
    "Record",
    "Regression",
    "SpanQA",
    "Tagging",
    "Task",
    "Translation",
    "build_task",
    "compare",
    "finetune",
    "is_fine_tuned",
    "judge",
    "load",
]
