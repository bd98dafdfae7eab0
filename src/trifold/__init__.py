"""Trifold: pre-train, fine-tune and use Transformers of all three families on your own text, Chinese or English.

Use a model, from a run of one's own, a Hugging Face folder or the hub:
    load            a model ready for use, a `LoadedModel`: classify, translate, ask, embed, fill masks, generate, score
    evaluate        how good it is on examples that a program holds
    KnowledgeBase   passages to look answers up in, from files or from texts
    Sampling        how text is chosen when a model generates

Train one:
    pretrain        from raw text, as an `Experiment` says: ModelChoice, TokenizerChoice, DataChoice, Training, objective
    finetune        for a task, as a `FineTuning` says: ModelChoice, LabelledData, tasks.Classification ..., LowRank
    Training        how long, how fast and on what: with AdamW or Muon, and a Schedule

Build on the parts:
    Transformer     the model: from_preset, from_pretrained, save_pretrained, hidden_states, attention_weights
    Tokenizer       text to ids and back; `train_tokenizer` makes one
    Batch, Layout   what a model reads: ids, and where each stands; `Loss` is what an objective gives back
    Trainer         the training loop, one step at a time, with a loss or an optimizer of one's own
    Generator       text from any model with a decoder, many prompts at once
    Record          one example of a task, as tasks read it

    errors          all that Trifold refuses or reports is a `TrifoldError`
    objective       what pre-training predicts: Causal, Masked, Denoising, Prefix, SequenceToSequence
    presets         the families and their sizes
    tasks           what a model can be fine-tuned for

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
    from trifold import errors, objective, presets, tasks
    from trifold.batch import Batch, Layout, Loss
    from trifold.errors import TrifoldError
    from trifold.generation import Generator, Sampling
    from trifold.objective import language_model_loss
    from trifold.presets.pretrained import Transformer
    from trifold.retrieval import KnowledgeBase
    from trifold.tasks import FineTuning, LabelledData, LoadedModel, LowRank, Record, evaluate, finetune, load
    from trifold.text import Tokenizer, train_tokenizer
    from trifold.training import (
        AdamW,
        DataChoice,
        Experiment,
        ModelChoice,
        Muon,
        Schedule,
        TokenizerChoice,
        Trainer,
        Training,
        pretrain,
    )

__all__ = [
    "AdamW",
    "Batch",
    "DataChoice",
    "Experiment",
    "FineTuning",
    "Generator",
    "KnowledgeBase",
    "LabelledData",
    "Layout",
    "LoadedModel",
    "Loss",
    "LowRank",
    "ModelChoice",
    "Muon",
    "Record",
    "Sampling",
    "Schedule",
    "Tokenizer",
    "TokenizerChoice",
    "Trainer",
    "Training",
    "Transformer",
    "TrifoldError",
    "__version__",
    "errors",
    "evaluate",
    "finetune",
    "language_model_loss",
    "load",
    "objective",
    "presets",
    "pretrain",
    "tasks",
    "train_tokenizer",
]

_PLACES = {
    "AdamW": "trifold.training",
    "Batch": "trifold.batch",
    "DataChoice": "trifold.training",
    "Experiment": "trifold.training",
    "FineTuning": "trifold.tasks",
    "Generator": "trifold.generation",
    "KnowledgeBase": "trifold.retrieval",
    "LabelledData": "trifold.tasks",
    "Layout": "trifold.batch",
    "LoadedModel": "trifold.tasks",
    "Loss": "trifold.batch",
    "LowRank": "trifold.tasks",
    "ModelChoice": "trifold.training",
    "Muon": "trifold.training",
    "Record": "trifold.tasks",
    "Sampling": "trifold.generation",
    "Schedule": "trifold.training",
    "Tokenizer": "trifold.text",
    "TokenizerChoice": "trifold.training",
    "Trainer": "trifold.training",
    "Training": "trifold.training",
    "Transformer": "trifold.presets.pretrained",
    "TrifoldError": "trifold.errors",
    "evaluate": "trifold.tasks",
    "finetune": "trifold.tasks",
    "language_model_loss": "trifold.objective",
    "load": "trifold.tasks",
    "pretrain": "trifold.training",
    "train_tokenizer": "trifold.text",
}
_MODULES = ("errors", "objective", "presets", "tasks")


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"trifold.{name}")
    raise AttributeError(f"module 'trifold' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
