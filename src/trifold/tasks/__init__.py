"""Fine-tuning and using models for tasks: one protocol, one trainer, one way to judge."""

from trifold.tasks.build import build_task, is_fine_tuned
from trifold.tasks.classification import Classification
from trifold.tasks.embedding import Embedding
from trifold.tasks.evaluate import evaluate
from trifold.tasks.experiment import FineTuning, LabelledData, LowRank
from trifold.tasks.finetune import FineTuneResult, finetune
from trifold.tasks.generation import Generation
from trifold.tasks.judge import compare, judge
from trifold.tasks.loaded import LoadedModel, load
from trifold.tasks.multiple_choice import MultipleChoice
from trifold.tasks.record import Record
from trifold.tasks.regression import Regression
from trifold.tasks.span_qa import SpanQA
from trifold.tasks.tagging import Tagging
from trifold.tasks.task import Prediction, Task
from trifold.tasks.translation import Translation

__all__ = [
    "Classification",
    "Embedding",
    "FineTuneResult",
    "FineTuning",
    "Generation",
    "LabelledData",
    "LoadedModel",
    "LowRank",
    "MultipleChoice",
    "Prediction",
    "Record",
    "Regression",
    "SpanQA",
    "Tagging",
    "Task",
    "Translation",
    "build_task",
    "compare",
    "evaluate",
    "finetune",
    "is_fine_tuned",
    "judge",
    "load",
]
