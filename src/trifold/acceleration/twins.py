"""Which part has which twin, and how they change places."""

from typing import TypeVar

from torch import nn

from trifold.acceleration.attention import FastAttention
from trifold.acceleration.block import FastFeedForward, FastResidual
from trifold.acceleration.linear import FastLinear
from trifold.acceleration.simple import FastDropout, FastGELU, FastLayerNorm, FastRMSNorm
from trifold.model import Attention, FeedForward, Residual, Transformer

__all__ = ["TWINS", "accelerate", "decelerate"]

TWINS: dict[type[nn.Module], type[nn.Module]] = {
    Attention: FastAttention,
    FeedForward: FastFeedForward,
    Residual: FastResidual,
    nn.Linear: FastLinear,
    nn.LayerNorm: FastLayerNorm,
    nn.RMSNorm: FastRMSNorm,
    nn.Dropout: FastDropout,
    nn.GELU: FastGELU,
}
PLAIN = {twin: plain for plain, twin in TWINS.items()}
Model = TypeVar("Model", bound=Transformer)


def accelerate(model: Model) -> Model:
    """The model with the twin of each part that has one, in place; parameters, names and hooks stay as they are.

    Each twin chooses by itself, by device, number format and shape, whether a kernel of ours is the faster one. A subclass
    of a part, or whatever else stands in its place, is left alone.

    Example:
        >>> from trifold.presets import build_config
        >>> model = accelerate(Transformer(build_config("gpt2", size="tiny")))
        >>> type(model.decoder.blocks[0].attention.branch).__name__
        'FastAttention'
        >>> type(decelerate(model).decoder.blocks[0].attention.branch).__name__
        'Attention'
    """
    return _change(model, TWINS)


def decelerate(model: Model) -> Model:
    """The model with its plain parts again, in place."""
    return _change(model, PLAIN)


def _change(model: Model, kinds: dict[type[nn.Module], type[nn.Module]]) -> Model:
    for part in (model.embedding, model.decoder_embedding, model.encoder, model.decoder, model.head):
        for name, module in () if part is None else part.named_modules():
            kind = kinds.get(type(module))
            if kind is not None and name != "output":  # of the head: the losses compute its product
                object.__setattr__(module, "__class__", kind)
    return model
