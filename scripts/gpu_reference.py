"""GPT-2 in plain torch, which `torch.compile` makes a peer of where there is no checkout of nanoGPT."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ReferenceBlock(nn.Module):
    """A pre-norm block without biases, as nanoGPT trains it (Radford et al. 2019)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2))
        self.together, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attention and feed-forward, each added to what it reads."""
        parts = self.together(self.norms[0](x)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class ReferenceGPT(nn.Module):
    """Tokens and labels to logits and their mean loss; takes the scale and the shape of `gpu_sides`."""

    def __init__(self, scale: Any, shape: dict[str, int]) -> None:
        super().__init__()
        width = shape["d_model"]
        self.tokens, self.places = nn.Embedding(shape["vocab_size"], width), nn.Embedding(scale.length, width)
        self.blocks = nn.ModuleList(ReferenceBlock(width, shape["num_heads"]) for _ in range(shape["num_layers"]))
        self.norm, self.output = nn.LayerNorm(width, bias=False), nn.Linear(width, shape["vocab_size"], bias=False)
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)
        self.output.weight = self.tokens.weight

    def forward(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the mean loss of the labels."""
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.output(self.norm(x))
        return logits, F.cross_entropy(logits.flatten(0, 1), labels.flatten())
