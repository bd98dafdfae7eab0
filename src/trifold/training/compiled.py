"""A model's stacks compiled by torch; a compiler that fails is reported and left out."""

import warnings

import torch

from trifold.batch import Batch
from trifold.locale import message
from trifold.model import Transformer

__all__ = ["compile_stacks"]


def compile_stacks(model: Transformer, batch: Batch) -> None:
    """Compile the encoder and the decoder of a model, as far as `batch` shows what they will read."""
    stacks = [stack for stack in (model.encoder, model.decoder) if stack is not None]
    try:
        for stack in stacks:
            stack.compile()
        with torch.no_grad():
            model(batch)
    except Exception as error:  # noqa: BLE001 - torch.compile raises what its many back ends raise
        for stack in stacks:
            stack._compiled_call_impl = None  # noqa: SLF001 - undoes nn.Module.compile, which has no public undo
        problem = (str(error) or type(error).__name__).splitlines()[0][:200]
        warnings.warn(message("training.compile_failed", problem=problem), stacklevel=2)
