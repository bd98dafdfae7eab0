"""How weights start, by paper."""

import math

import torch
from torch import nn

from trifold.model import config

__all__ = ["initialize"]

INTO_RESIDUAL = ("o_proj", "down_proj")


@torch.no_grad()
def initialize(model: nn.Module, transformer: config.Transformer) -> None:
    """Fill every weight of `model` in place from torch's global random state; biases 0, norms 1.

    `normal`: Devlin 2019, Radford 2019 (with `scale_residual`); `xavier`: Glorot 2010 as in Vaswani 2017's code;
    `fan_in`: Raffel 2020, where queries also carry the `1 / sqrt(head_size)` that the scores lack.
    """
    chosen = transformer.initialization
    for path, module in model.named_modules():
        name = path.rpartition(".")[2]
        if isinstance(module, nn.Linear):
            if chosen.kind == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.normal_(module.weight, std=_std(chosen, name, module, transformer))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for path, module in model.named_modules():  # after the heads, so that a tied weight is an embedding
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=_embedding_std(chosen, path, transformer))
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])


def _std(chosen: config.Initialization, name: str, module: nn.Linear, transformer: config.Transformer) -> float:
    if chosen.kind == "fan_in":
        heads = transformer.main.blocks[0].attention
        fan = module.in_features * (heads.head_size if name == "q_proj" else 1)
        return 1.0 if name == "output" else fan**-0.5
    layers = len(transformer.main.blocks)
    return chosen.std / math.sqrt(2 * layers) if chosen.scale_residual and name in INTO_RESIDUAL else chosen.std


def _embedding_std(chosen: config.Initialization, path: str, transformer: config.Transformer) -> float:
    if chosen.kind == "normal":
        return chosen.std
    tokens = path == "embedding.tokens"
    return 1.0 if tokens and chosen.kind == "fan_in" else transformer.d_model**-0.5
