"""Trifold: pre-train, fine-tune and use Transformers of all three families on your own text, Chinese or English.

Names are loaded when they are first used, so that `import trifold` costs next to nothing.

Example:
    >>> import trifold
    >>> model = trifold.Transformer.from_preset("gpt2", size="tiny", vocab_size=100)
    >>> model.num_parameters()
    937216
"""

import importlib
from typing import TYPE_CHECKING

from trifold.version import __version__

if TYPE_CHECKING:
    from trifold import errors, presets
    from trifold.batch import Batch, Layout, Loss
    from trifold.generation import Generator, Sampling
    from trifold.objective import language_model_loss
    from trifold.presets.pretrained import Transformer
    from trifold.retrieval import KnowledgeBase
    from trifold.tasks import FineTuning, LoadedModel, Record, finetune, load
    from trifold.text import Tokenizer, train_tokenizer
    from trifold.training import Experiment, Trainer, Training, pretrain

__all__ = [
    "Batch",
    "Experiment",
    "FineTuning",
    "Generator",
    "KnowledgeBase",
    "Layout",
    "LoadedModel",
    "Loss",
    "Record",
    "Sampling",
    "Tokenizer",
    "Trainer",
    "Training",
    "Transformer",
    "__version__",
    "errors",
    "finetune",
    "language_model_loss",
    "load",
    "presets",
    "pretrain",
    "train_tokenizer",
]

_PLACES = {
    "Batch": "trifold.batch",
    "Experiment": "trifold.training",
    "FineTuning": "trifold.tasks",
    "Generator": "trifold.generation",
    "KnowledgeBase": "trifold.retrieval",
    "Layout": "trifold.batch",
    "LoadedModel": "trifold.tasks",
    "Loss": "trifold.batch",
    "Record": "trifold.tasks",
    "Sampling": "trifold.generation",
    "Tokenizer": "trifold.text",
    "Trainer": "trifold.training",
    "Training": "trifold.training",
    "Transformer": "trifold.presets.pretrained",
    "finetune": "trifold.tasks",
    "language_model_loss": "trifold.objective",
    "load": "trifold.tasks",
    "pretrain": "trifold.training",
    "train_tokenizer": "trifold.text",
}


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in ("errors", "presets"):
        return importlib.import_module(f"trifold.{name}")
    raise AttributeError(f"module 'trifold' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
