"""One training loop for every model, objective and task; a run from an experiment to a model in a folder."""

from trifold.training.config import AdamW, Muon, Schedule, Training
from trifold.training.description import read_experiment
from trifold.training.experiment import DataChoice, Experiment, ModelChoice, TokenizerChoice
from trifold.training.held_out import Evaluation, evaluate_loss
from trifold.training.loop import Event
from trifold.training.pretraining import Result, pretrain
from trifold.training.step import Step
from trifold.training.trainer import Trainer

__all__ = [
    "AdamW",
    "DataChoice",
    "Evaluation",
    "Event",
    "Experiment",
    "ModelChoice",
    "Muon",
    "Result",
    "Schedule",
    "Step",
    "TokenizerChoice",
    "Trainer",
    "Training",
    "evaluate_loss",
    "pretrain",
    "read_experiment",
]
