"""LoRA: a Linear that learns a small difference to a frozen one (Hu et al. 2022)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trifold.errors import ConfigError

__all__ = ["LowRankLinear", "add_adapters", "merge_adapters"]


class LowRankLinear(nn.Linear):
    """`W x + b + alpha / rank * B A dropout(x)`, with W and b frozen, A random and B zero at the start.

    The weight keeps its name, so that a model with adapters is saved and loaded like one without.

    Args:
        linear: what it stands in for; its weights are taken over.
        rank: inner width.
        alpha: scale of the difference.
        dropout: of the adapter's input.

    Example:
        >>> plain = nn.Linear(4, 3)
        >>> adapted = LowRankLinear(plain, rank=2, alpha=4.0)
        >>> torch.equal(adapted(torch.ones(1, 4)), plain(torch.ones(1, 4)))
        True
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        for own in (self.weight, self.bias):
            if own is not None:
                own.requires_grad_(False)
        self.scale, self.dropout = alpha / rank, nn.Dropout(dropout)
        kind = {"dtype": linear.weight.dtype, "device": linear.weight.device}
        self.lora_a = nn.Parameter(torch.empty(rank, linear.in_features, **kind))
        self.lora_b = nn.Parameter(torch.zeros(linear.out_features, rank, **kind))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, input: Float[Tensor, "*places inputs"]) -> Float[Tensor, "*places outputs"]:  # noqa: A002
        """The frozen product plus the learned difference."""
        low = F.linear(F.linear(self.dropout(input), self.lora_a), self.lora_b)
        return super().forward(input) + self.scale * low

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain Linear that computes the same."""
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        exact = self.weight.double() + self.scale * (self.lora_b.double() @ self.lora_a.double())
        plain.weight, plain.bias = nn.Parameter(exact.to(self.weight.dtype)), self.bias
        for own in (plain.weight, plain.bias):
            if own is not None:
                own.requires_grad_(True)
        return plain


def add_adapters(model: nn.Module, names: Sequence[str], *, rank: int, alpha: float, dropout: float = 0.0) -> list[str]:
    """Put an adapter on every Linear with one of these names, and freeze all else; give their paths.

    Raises:
        ConfigError: no Linear has one of the names.
    """
    model.requires_grad_(False)
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.rpartition(".")[2] in names and ".blocks." in path
    ]
    if not paths:
        raise ConfigError("training.no_target", given=", ".join(names))
    for path in paths:
        parent, _, name = path.rpartition(".")
        linear = model.get_submodule(path)
        assert isinstance(linear, nn.Linear)
        setattr(model.get_submodule(parent), name, LowRankLinear(linear, rank=rank, alpha=alpha, dropout=dropout))
    return paths


def merge_adapters(model: nn.Module) -> None:
    """Put a plain Linear in place of every adapter, and let everything train again."""
    for path, module in list(model.named_modules()):
        if isinstance(module, LowRankLinear):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, module.merged())
    for parameter in model.parameters():
        parameter.requires_grad_(True)
