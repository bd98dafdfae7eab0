"""What a model is trained to do: each objective turns text into examples and examples into a loss."""

from collections.abc import Callable, Mapping
from typing import Any

from trifold.model import config as model_config
from trifold.objective import config
from trifold.objective.causal import Causal
from trifold.objective.cross_entropy import sum_cross_entropy, token_cross_entropy
from trifold.objective.denoising import Denoising
from trifold.objective.infilling import Infilling
from trifold.objective.masked import Masked
from trifold.objective.mixture import Mixture
from trifold.objective.objective import Criterion, Objective, language_model_loss
from trifold.objective.prefix import Prefix
from trifold.objective.sequence_to_sequence import SequenceToSequence
from trifold.text import Tokenizer

__all__ = [
    "Causal",
    "Criterion",
    "Denoising",
    "Infilling",
    "Masked",
    "Mixture",
    "Objective",
    "Prefix",
    "SequenceToSequence",
    "build_objective",
    "language_model_loss",
    "sum_cross_entropy",
    "token_cross_entropy",
]


KINDS: Mapping[type[Any], Callable[[Any, Tokenizer, model_config.Transformer], Objective]] = {
    config.Causal: Causal,
    config.Masked: Masked,
    config.Denoising: Denoising,
    config.Infilling: Infilling,
    config.SequenceToSequence: SequenceToSequence,
    config.Prefix: Prefix,
}


def build_objective(wanted: config.ObjectiveConfig, tokenizer: Tokenizer, model: model_config.Transformer) -> Objective:
    """The objective that a configuration asks for.

    Raises:
        ConfigError: the model lacks a stack it needs, or the tokenizer a special token; both are named.
    """
    if isinstance(wanted, config.Mixture):
        return Mixture([build_objective(part, tokenizer, model) for part in wanted.parts], wanted.weights)
    return KINDS[type(wanted)](wanted, tokenizer, model)
