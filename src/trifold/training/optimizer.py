"""Which parameter is moved by which optimizer."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from trifold.config import require
from trifold.errors import ConfigError
from trifold.training.adamw import AdamW as OnePass
from trifold.training.adamw import PlainAdamW
from trifold.training.config import AdamW, Muon, Optimizer, Training
from trifold.training.muon import MatrixMomentum
from trifold.training.precision import Weights, choose_dtype

__all__ = [
    "adopt_optimizer",
    "build_optimizers",
    "choose_optimizers",
    "load_optimizer_state",
    "optimizer_state",
    "set_learning_rate",
    "split_parameters",
]


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


def build_optimizers(
    config: Optimizer,
    parameters: Mapping[str, Tensor],
    *,
    layer_decay: float = 1.0,
    copies: Mapping[Tensor, Tensor] | None = None,
) -> list[torch.optim.Optimizer]:
    """The optimizers for named parameters; each group remembers its peak learning rate as `peak_lr`.

    Args:
        config: which optimizer, and its numbers.
        parameters: what to move, by name.
        layer_decay: what the learning rate is multiplied by from each layer to the one below.
        copies: the copy of each parameter, for AdamW to write at once; None where others do.
    """
    matrices, rest, still = split_parameters(parameters)
    factors = layer_factors(parameters, layer_decay)

    def groups(names: Iterable[str], lr: float, weight_decay: float) -> list[dict[str, Any]]:
        by_factor: dict[float, list[Tensor]] = {}
        for name in names:
            by_factor.setdefault(factors[name], []).append(parameters[name])
        return [
            {"params": found, "lr": lr * factor, "weight_decay": weight_decay} for factor, found in by_factor.items()
        ]

    match config:
        case AdamW():
            chosen = [*groups([*matrices, *rest], config.lr, config.weight_decay), *groups(still, config.lr, 0.0)]
            optimizers: list[torch.optim.Optimizer] = [_adamw(config, chosen, copies)]
        case Muon():
            adamw = config.adamw
            chosen = [*groups(rest, adamw.lr, adamw.weight_decay), *groups(still, adamw.lr, 0.0)]
            optimizers = [_adamw(adamw, chosen, copies)]
            if matrices:
                optimizers.append(_muon(config, groups(matrices, config.lr, config.weight_decay)))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def layer_factors(parameters: Iterable[str], decay: float) -> dict[str, float]:
    """For each parameter the power of `decay` that its depth asks for: 1 above the blocks, least in the embedding.

    Example:
        >>> names = ["embedding.tokens.weight", "encoder.blocks.0.x", "encoder.blocks.1.x", "heads.task.output.weight"]
        >>> list(layer_factors(names, 0.5).values())
        [0.125, 0.25, 0.5, 1.0]
    """
    names = list(parameters)
    depths = {name: _depth(name) for name in names}
    last = max((depth for depth in depths.values() if depth is not None), default=0) + 1
    return {name: decay ** (last - (last if depth is None else depth)) for name, depth in depths.items()}


def _depth(name: str) -> int | None:
    """0 in the embedding, the number of the block from 1, None above the blocks."""
    found = re.search(r"\.blocks\.(\d+)\.", name)
    return int(found[1]) + 1 if found else 0 if name.startswith(("embedding.", "decoder_embedding.")) else None


def _muon(config: Muon, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    given = groups[0]["params"][0]
    dtype = given.dtype if given.dtype == torch.float64 else choose_dtype("auto", given.device)
    return MatrixMomentum(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, dtype=dtype)


def _adamw(
    config: AdamW, groups: list[dict[str, Any]], copies: Mapping[Tensor, Tensor] | None
) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"lr": config.lr, "betas": config.betas, "eps": config.eps}
    return PlainAdamW(groups, **options, fused=True) if copies is None else OnePass(groups, copies, **options)


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> float:
    """Set every group to `factor` of its peak; give the first group's learning rate."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group["lr"] = group["peak_lr"] * factor
    return groups[0]["lr"]


def choose_optimizers(
    training: Training, weights: Weights, *, lean: bool, own: torch.optim.Optimizer | None
) -> list[torch.optim.Optimizer]:
    """The optimizers that the training asks for, or the caller's own.

    Args:
        training: which, unless the caller has one.
        weights: what they move.
        lean: whether they may take gradients in the format of the lean weights, and write those.
        own: built for the model's parameters.

    Raises:
        ConfigError: as for `adopt_optimizer`.
    """
    if own is not None:
        return [adopt_optimizer(own, weights, layer_decay=training.layer_decay)]
    copies = weights.copies() if lean else None
    return build_optimizers(training.optimizer, weights.exact, layer_decay=training.layer_decay, copies=copies)


def adopt_optimizer(
    optimizer: torch.optim.Optimizer, weights: Weights, *, layer_decay: float = 1.0
) -> torch.optim.Optimizer:
    """An optimizer that was built for the parameters of a model, moving its exact weights from now on.

    Raises:
        ConfigError: a parameter is not of the model, or its learning rates are to depend on the layer, which are its own
            affair; the optimizer is then as it was.
    """
    own = layer_decay == 1.0
    require(own, where="layer_decay", given=layer_decay, allowed="1.0 with an optimizer of one's own")
    exact = {id(lean): weights.exact[name] for name, lean in weights.lean.items()}
    given = [value for group in optimizer.param_groups for value in group["params"]]
    strangers = [value for value in given if id(value) not in exact]
    if strangers:
        raise ConfigError("training.foreign_weights", count=len(strangers), shape=tuple(strangers[0].shape))
    for group in optimizer.param_groups:
        group["params"] = [exact[id(value)] for value in group["params"]]
        group["peak_lr"] = group["lr"]
    states = [(exact[id(value)], state) for value, state in optimizer.state.items()]
    optimizer.state.clear()
    optimizer.state.update(states)
    return optimizer


def optimizer_state(optimizers: Iterable[torch.optim.Optimizer], weights: Weights) -> dict[str, Tensor]:
    """What this process holds of the optimizers' state, by `weight|name`."""
    names = {id(value): name for name, value in weights.exact.items()}
    return {
        f"{names[id(parameter)]}|{key}": weights.local(torch.as_tensor(value)).contiguous()
        for optimizer in optimizers
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }


def load_optimizer_state(
    optimizers: Iterable[torch.optim.Optimizer], weights: Weights, tensors: Mapping[str, Tensor]
) -> None:
    """Give optimizers back what `optimizer_state` gave."""
    by_name: dict[str, dict[str, Tensor]] = {}
    for full, value in tensors.items():
        name, _, key = full.rpartition("|")
        by_name.setdefault(name, {})[key] = value
    for optimizer in optimizers:
        owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for name, parameter in weights.exact.items():
            if id(parameter) in owned:
                values = by_name.get(name, {})
                optimizer.state[parameter] = {key: one.to(_device(one, parameter)) for key, one in values.items()}


def _device(value: Tensor, parameter: Tensor) -> torch.device:
    """Step counters stay on the CPU unless the optimizer is fused on the parameter's device."""
    return parameter.device if value.ndim or parameter.is_cuda else torch.device("cpu")
