"""Weights of fewer bits, and the modules that multiply them fastest, for a model that is done learning."""

from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import torch
from torch import nn

from trifold.config import require
from trifold.generation.kernel import load_kernel
from trifold.generation.linear import Int8Linear, PackedLinear, RoundedLinear, StreamedLinear
from trifold.generation.streamed import stream
from trifold.model import Block
from trifold.model.block import FeedForward
from trifold.native import enlarge_pages, multiplies_bfloat16, onednn_multiplies_bfloat16

__all__ = ["Precision", "lower_precision", "packs_weights", "uses_kernel"]

Precision = Literal["float32", "bfloat16", "int8"]
Model = TypeVar("Model", bound=nn.Module)
Module = TypeVar("Module", bound=nn.Module)


def lower_precision(model: Model, precision: Precision, *, decoding: bool = False) -> Model:
    """The model with weights of fewer bits, for inference; changed in place.

    Args:
        model: any.
        precision: `float32` leaves the numbers as they are; `bfloat16`, packed where that pays; `int8` for the weights of
            products, the rest in bfloat16. A task's own head, which is small, is not packed nor rounded.
        decoding: whether the model will mostly see one row at a time, and not many; where it sees many, `int8` also rounds
            what is multiplied.

    Raises:
        ConfigError: there is no such precision.

    Example:
        >>> model = lower_precision(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), "int8")
        >>> type(model[0]).__name__, model[0].weight.dtype
        ('RoundedLinear', torch.int8)
    """
    known = get_args(Precision)
    require(precision in known, where="precision", given=precision, allowed=", ".join(known))
    if precision != "float32":
        model.to(torch.bfloat16)
    streams = decoding and _is_on_cpu(model) and uses_kernel()
    if precision == "int8":
        _replace(model, nn.Linear, Int8Linear if decoding else RoundedLinear)
    elif streams:
        _replace(model, nn.Linear, StreamedLinear)
    elif precision == "bfloat16" and _is_on_cpu(model) and packs_weights():
        _replace(model, FeedForward, _join)
        _replace(model, nn.Linear, PackedLinear)
    if streams:
        enlarge_pages([*model.parameters(), *model.buffers()])
        _replace(model, Block, stream)
    return model


def _replace(model: nn.Module, old: type[Module], new: Callable[[Module], nn.Module]) -> None:
    for place, module in list(model.named_modules()):
        for name, child in [] if place.split(".")[0] == "heads" else list(module.named_children()):
            if isinstance(child, old):
                setattr(module, name, new(child))


def _join(layer: FeedForward) -> FeedForward:
    """The layer, its GELU computed by the product before it."""
    if layer.config.activation == "gelu":
        name = "gate_proj" if layer.config.gated else "up_proj"
        setattr(layer, name, PackedLinear(getattr(layer, name), gelu=True))
        layer.activation = nn.Identity()
    return layer


def packs_weights() -> bool:
    """Whether packing pays on this processor: oneDNN is there, and it multiplies bfloat16 itself."""
    return multiplies_bfloat16() and onednn_multiplies_bfloat16()


def uses_kernel() -> bool:
    """Whether decoding has a kernel of its own here (see `kernel`)."""
    return load_kernel() is not None


def _is_on_cpu(model: nn.Module) -> bool:
    return next(model.parameters()).device.type == "cpu"
