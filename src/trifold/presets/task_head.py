"""The part that stands on a body for a task, in the one shape that every family's classes have."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trifold.config import Chance, Config, Count
from trifold.model import config
from trifold.model.block import build_activation
from trifold.model.norm import build_norm

__all__ = ["HeadShape", "Pooling", "TaskHead"]

Pooling = Literal["first", "last", "mean", "each"]
"""Which vectors are read: the first or the last of a text, the mean of all, or each by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadShape(Config):
    """What a head is made of.

    Attributes:
        outputs: logits for each vector that is read.
        pooling: which vectors are read.
        dense: whether there is a hidden layer.
        dense_bias, output_bias: whether the two layers have biases.
        activation: after the hidden layer.
        norm: after the activation; None for none.
        dropout: before the output, in training.
        dropout_first: whether there is dropout before the hidden layer too.

    Example:
        >>> HeadShape(outputs=2, pooling="first").dense
        False
    """

    outputs: Count
    pooling: Pooling
    dense: bool = False
    dense_bias: bool = True
    output_bias: bool = True
    activation: Literal["tanh", "relu", "gelu", "gelu_tanh", "silu"] = "tanh"
    norm: config.Norm | None = None
    dropout: Chance = 0.1
    dropout_first: bool = False


class TaskHead(nn.Module):
    """`output(dropout(norm(activation(dense(x)))))`, in float32 from the last product on.

    Args:
        shape: what it is made of.
        d_model: width of the body.

    Example:
        >>> TaskHead(HeadShape(outputs=3, pooling="first", dense=True), 8)(torch.ones(2, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(self, shape: HeadShape, d_model: int) -> None:
        super().__init__()
        self.shape = shape
        self.dense = nn.Linear(d_model, d_model, bias=shape.dense_bias) if shape.dense else None
        self.activation = nn.Tanh() if shape.activation == "tanh" else build_activation(shape.activation)
        self.norm = build_norm(shape.norm, d_model)
        self.dropout = nn.Dropout(shape.dropout)
        self.output = nn.Linear(d_model, shape.outputs, bias=shape.output_bias)
        for layer, std in ((self.dense, d_model**-0.5), (self.output, 0.02)):
            if layer is not None:
                nn.init.normal_(layer.weight, std=std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "*places d_model"]) -> Float[Tensor, "*places labels"]:
        """Vectors to the logits of the labels."""
        x = x.to(self.output.weight.dtype)
        if self.dense is not None:
            x = self.dense(self.dropout(x) if self.shape.dropout_first else x)
            x = self.activation(x)
        logits = F.linear(self.dropout(self.norm(x)), self.output.weight, self.output.bias)
        return logits.float() if logits.dtype == torch.bfloat16 else logits
