"""Where attention may start from: heads that look at the tokens beside their own.

Most of what can be said about a token stands right beside it, yet a model with learned positions needs many hundred steps
to find out which positions are neighbours; until then it knows nothing but how often each token occurs. So let it start
with that:

* learned positions start as waves in dimensions of their own, `p(t) = (sin w_i t, cos w_i t)`, where `p(t + k) = R_k p(t)`
  with a rotation R_k for each distance. A head whose queries are `R_k p(t)` and whose keys are `p(s)` scores
  `sum_i cos(w_i (t + k - s))`, highest at `s = t + k`;
* relative biases start with one distance raised in each head;
* in a decoder's cross-attention the keys start as the queries' own matrix, so that a token looks at its like in the source.

All of it is a start: every weight is trained, and the model remains what its family is.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trifold.model import Transformer
from trifold.model.config import Attention
from trifold.model.position import RelativeBias
from trifold.model.transformer import Embedding, Stack

__all__ = ["attend_to_neighbours"]

BOTH_SIDES, BEFORE = (-1, 1, -2, 2), (-1, -2, -3, -4)
"""The distances that heads look at, in turn; those of a causal stack."""
PEAK = 7.5
"""The score of the token at that distance, where others have about 0."""
RAISED = 5.0
"""What the relative bias of a head's distance is raised by."""
LOUD = 2.0
"""The amplitude of the waves, as a multiple of the spread of the tokens' vectors."""
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
"""Frequencies are its multiples, which are spread evenly and never meet."""
LIKE = 5.0
"""The keys of cross-attention, as a multiple of its queries' matrix."""
OPEN = 4.0
"""What values and outputs of the heads that start with a distance are multiplied by, so that what they see is heard."""


@torch.no_grad()
def attend_to_neighbours(model: Transformer) -> int:
    """Let attention start with the tokens beside each token; changes weights in place.

    Args:
        model: with random weights.

    Returns:
        How many heads start with a distance; 0 for a model whose positions are neither learned nor relative biases.
    """
    heads = 0
    if model.encoder is not None:
        heads += _start_stack(model.encoder, model.embedding)
    if model.decoder is not None:
        heads += _start_stack(model.decoder, model.decoder_embedding or model.embedding)
    if model.decoder is not None and model.encoder is not None:
        for block in model.decoder.blocks:
            assert block.cross_attention is not None
            weights = dict(block.cross_attention.branch.named_parameters())
            if weights["k_proj.weight"].shape == weights["q_proj.weight"].shape:
                weights["k_proj.weight"].copy_(LIKE * weights["q_proj.weight"])
    return heads


def _start_stack(stack: Stack, embedding: Embedding) -> int:
    """The same for one stack."""
    config, weights = stack.blocks[0].config.attention, dict(stack.blocks[0].attention.branch.named_parameters())
    distances, heads = BEFORE if config.causal else BOTH_SIDES, 0
    positions, queries = embedding.position, weights["q_proj.weight"]
    alike = queries.shape == weights["k_proj.weight"].shape and stack.blocks[0].config.shared is None
    width = queries.shape[1]
    waves = _count_waves(config, width)
    if isinstance(positions, nn.Embedding) and positions.embedding_dim == width and alike and waves:
        _look(weights, config, distances, _start_as_waves(embedding, positions.weight, waves))
        heads += config.num_heads
    for module in stack.positions:
        if isinstance(module, RelativeBias):
            heads += _raise(module.table.weight, distances, bidirectional=not config.causal)
    return heads


def _frequencies(count: int) -> Tensor:
    return math.pi * (torch.arange(1, count + 1).double() * GOLDEN % 1.0)


def _count_waves(config: Attention, width: int) -> int:
    """As many as the sines and cosines of which a head can read; tokens keep half of the dimensions at least."""
    return min(config.head_size // 2, width // 4)


def _start_as_waves(embedding: Embedding, table: Tensor, waves: int) -> float:
    """Give the last dimensions to positions alone; the amplitude that waves have once their vectors are normed."""
    tokens, width = embedding.tokens.weight, table.shape[1]
    spread = tokens.std().item()
    angle = torch.arange(len(table)).double()[:, None] * _frequencies(waves)
    tokens[:, -2 * waves :] = 0.0
    table.zero_()
    table[:, -2 * waves :] = torch.cat([angle.sin(), angle.cos()], dim=1) * (LOUD * spread)
    square = ((width - 2 * waves) + waves * LOUD**2) / width  # the mean square of a vector's numbers, in spreads
    return LOUD / math.sqrt(square)


def _look(weights: Mapping[str, Tensor], config: Attention, distances: tuple[int, ...], amplitude: float) -> None:
    """Let queries and keys of each head, but for a trace, read the waves alone, so that it looks at one distance."""
    queries, keys = weights["q_proj.weight"], weights["k_proj.weight"]
    width, size = queries.shape[1], config.head_size
    waves = _count_waves(config, width)
    gain = math.sqrt(PEAK * math.sqrt(size) / waves) / amplitude
    place = torch.arange(waves) + width - 2 * waves
    for head in range(config.num_heads):
        angle = _frequencies(waves) * distances[head % len(distances)]
        sines, cosines = (torch.arange(waves) + head * size + shift for shift in (0, waves))
        queries[sines, place] += gain * angle.cos()
        queries[sines, place + waves] += gain * angle.sin()
        queries[cosines, place + waves] += gain * angle.cos()
        queries[cosines, place] -= gain * angle.sin()
        keys[sines, place] += gain
        keys[cosines, place + waves] += gain
    for name in ("v_proj.weight", "o_proj.weight"):
        weights[name].mul_(OPEN)


def _raise(table: Tensor, distances: tuple[int, ...], *, bidirectional: bool) -> int:
    """Raise one distance in each head's relative biases, of those that have a bucket to themselves."""
    side = len(table) // 2 if bidirectional else len(table)
    own = [distance for distance in distances if abs(distance) < side // 2]
    for head in range(table.shape[1]) if own else ():
        distance = own[head % len(own)]
        after = side if bidirectional and distance > 0 else 0
        table[after + abs(distance), head] += RAISED
    return table.shape[1] if own else 0
