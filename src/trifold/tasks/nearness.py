"""How near the tokens of a text are to what a question asks about.

Axes: B batch, S sequence.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trifold.batch import Layout
from trifold.tasks.frame import segments
from trifold.tasks.head import document_keys

__all__ = ["Nearness"]

SCALES, WEIGHT, IN_BOTH = (2.0, 8.0, 32.0), 30.0, 2
"""Distances in tokens; how much faster the weights of nearness move than others; the segment of what both parts have."""


class Nearness(nn.Module):
    """What a sliding window over a context counts, with weights that are learned: how much of the question is near.

    For a token i and a scale s, the sum over the tokens j of its text that stand in the question of

        importance(j) / (how often j's token comes in the text) * exp(-|i - j| / s),

    and the logarithm of one plus that; then a linear map (after kernel pooling, Xiong et al. 2017).

    Args:
        vocab_size: of the model.
        num_outputs: logits a token.

    Example:
        >>> near = Nearness(10, 2)
        >>> near(torch.tensor([[7, 8, 2, 5, 8, 2]]), Layout.whole(1, 6), 2).shape
        torch.Size([1, 6, 2])
    """

    def __init__(self, vocab_size: int, num_outputs: int) -> None:
        super().__init__()
        self.importance = nn.Embedding(vocab_size, 1)
        self.output = nn.Linear(len(SCALES) + 1, num_outputs, bias=False)
        nn.init.zeros_(self.importance.weight)
        nn.init.zeros_(self.output.weight)

    def forward(self, tokens: Int[Tensor, "batch seq"], layout: Layout, end: int) -> Float[Tensor, "batch seq outputs"]:
        """Logits of each token; `end` is the token that parts of a text end with."""
        keys = document_keys(layout, *tokens.shape)
        same = keys[:, :, None] == keys[:, None, :]  # B S S
        often = (same & (tokens[:, :, None] == tokens[:, None, :])).sum(2)
        shared = (segments(tokens, layout, end) == IN_BOTH).to(self.output.weight.dtype)
        weight = shared * torch.exp(WEIGHT * self.importance(tokens)[..., 0]) / often
        place = torch.arange(tokens.shape[1], device=tokens.device)
        apart = (place[:, None] - place[None, :]).abs().to(weight.dtype)
        near = [torch.einsum("bij,bj->bi", torch.exp(-apart / scale) * same, weight).log1p() for scale in SCALES]
        return WEIGHT * self.output(torch.stack([*near, shared], dim=-1))
