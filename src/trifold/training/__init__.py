"""One training loop for every model, objective and task."""

from trifold.training.config import AdamW, Muon, Schedule, Training
from trifold.training.trainer import Evaluation, Step, Trainer, evaluate_loss

__all__ = ["AdamW", "Evaluation", "Muon", "Schedule", "Step", "Trainer", "Training", "evaluate_loss"]
