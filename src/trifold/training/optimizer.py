"""Which parameter is moved by which optimizer."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from trifold.training.config import AdamW, Muon, Optimizer
from trifold.training.muon import MatrixMomentum
from trifold.training.precision import choose_dtype

__all__ = ["build_optimizers", "set_learning_rate", "split_parameters"]


def split_parameters(parameters: Mapping[str, Tensor]) -> tuple[list[str], list[str], list[str]]:
    """Names of the blocks' matrices, of other tensors with weight decay, and of those without.

    Example:
        >>> named = {"decoder.blocks.0.feed_forward.branch.up_proj.weight": torch.ones(2, 2),
        ...          "embedding.tokens.weight": torch.ones(2, 2), "head.output.weight": torch.ones(2, 2)}
        >>> [len(part) for part in split_parameters(named)]
        [1, 1, 1]
    """
    matrices = [name for name, value in parameters.items() if value.ndim == 2 and ".blocks." in name]
    still = [name for name, value in parameters.items() if value.ndim < 2 or "embedding." in name or ".table." in name]
    rest = [name for name in parameters if name not in {*matrices, *still}]
    return matrices, rest, still


def build_optimizers(config: Optimizer, parameters: Mapping[str, Tensor]) -> list[torch.optim.Optimizer]:
    """The optimizers for named parameters; each group remembers its peak learning rate as `peak_lr`."""
    matrices, rest, still = ([parameters[name] for name in part] for part in split_parameters(parameters))
    match config:
        case AdamW():
            optimizers: list[torch.optim.Optimizer] = [_adamw(config, [*matrices, *rest], still)]
        case Muon():
            optimizers = [_adamw(config.adamw, rest, still)]
            if matrices:
                optimizers.append(_muon(config, matrices))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def _muon(config: Muon, matrices: list[Tensor]) -> torch.optim.Optimizer:
    given = matrices[0]
    dtype = given.dtype if given.dtype == torch.float64 else choose_dtype("auto", given.device)
    return MatrixMomentum(
        matrices, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, dtype=dtype
    )


def _adamw(config: AdamW, decayed: list[Tensor], still: list[Tensor]) -> torch.optim.Optimizer:
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": still, "weight_decay": 0.0}]
    filled = [group for group in groups if group["params"]]
    return torch.optim.AdamW(filled, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> float:
    """Set every group to `factor` of its peak; give the first group's learning rate."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group["lr"] = group["peak_lr"] * factor
    return groups[0]["lr"]
