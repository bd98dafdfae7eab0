"""One layer: attention, cross-attention and feed-forward, each a branch of a residual.

Axes: B batch, S sequence, D d_model, F d_ff.
"""

from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from trifold.model import config
from trifold.model.attention import Attention, Visibility
from trifold.model.cache import Slot
from trifold.model.norm import build_norm
from trifold.model.position import Rotation

__all__ = ["Block", "FeedForward", "Residual", "build_activation"]


ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "gelu_tanh": partial(nn.GELU, approximate="tanh"), "silu": nn.SiLU}


def build_activation(name: config.Activation | None) -> nn.Module:
    """The activation of that name; the identity for None.

    Example:
        >>> build_activation("gelu_tanh")
        GELU(approximate='tanh')
    """
    return ACTIVATIONS.get(name or "identity", nn.Identity)()


class FeedForward(nn.Module):
    """`down(activation(up x))` (Vaswani et al. 2017, equation 2), or gated `down(activation(gate x) * up x)`.

    Example:
        >>> import torch
        >>> layer = FeedForward(config.FeedForward(d_ff=8, activation="silu", gated=True), d_model=4)
        >>> layer(torch.ones(1, 2, 4)).shape
        torch.Size([1, 2, 4])
    """

    def __init__(self, feed_forward: config.FeedForward, d_model: int) -> None:
        super().__init__()
        self.config = feed_forward
        d_ff, bias = feed_forward.d_ff, feed_forward.bias
        self.activation = build_activation(feed_forward.activation)
        self.up_proj = nn.Linear(d_model, d_ff, bias=bias)
        self.gate_proj = nn.Linear(d_model, d_ff, bias=bias) if feed_forward.gated else None
        self.down_proj = nn.Linear(d_ff, d_model, bias=bias)
        self.dropout = nn.Dropout(feed_forward.dropout)

    def forward(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        """Each token by itself."""
        up = self.up_proj(x)  # B S F
        inner = self.activation(up) if self.gate_proj is None else self.activation(self.gate_proj(x)) * up
        return self.down_proj(self.dropout(inner))


class Residual(nn.Module):
    """`post_norm(x + dropout(branch_norm(branch(pre_norm(x)))))`; absent norms are the identity."""

    def __init__(self, residual: config.Residual, branch: nn.Module, d_model: int) -> None:
        super().__init__()
        self.pre_norm = build_norm(residual.pre_norm, d_model)
        self.branch = branch
        self.branch_norm = build_norm(residual.branch_norm, d_model)
        self.post_norm = build_norm(residual.post_norm, d_model)
        self.dropout = nn.Dropout(residual.dropout)

    def forward(self, x: Float[Tensor, "batch seq d_model"], *inputs: Any, **named: Any) -> Tensor:
        """Add what the branch makes of `x` and of whatever else it takes."""
        out = self.branch(self.pre_norm(x), *inputs, **named)
        return self.post_norm(x + self.dropout(self.branch_norm(out)))


class Block(nn.Module):
    """One layer of a stack."""

    def __init__(self, block: config.Block, d_model: int) -> None:
        super().__init__()
        self.config = block
        cross = block.cross_attention
        self.attention = Residual(block.attention.residual, Attention.build(block.attention, d_model), d_model)
        self.cross_attention = Residual(cross.residual, Attention.build(cross, d_model), d_model) if cross else None
        self.feed_forward = Residual(block.feed_forward.residual, FeedForward(block.feed_forward, d_model), d_model)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        visibility: Visibility,
        place: Rotation | Float[Tensor, "rows heads seq key"] | None = None,
        memory: tuple[Float[Tensor, "batch memory d_model"], Visibility] | None = None,
        slot: Slot | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """Tokens to tokens; `memory` is the encoder's output and who may see what of it."""
        x = self.attention(x, visibility, place=place, slot=slot)
        if self.cross_attention is not None and memory is not None:
            x = self.cross_attention(x, memory[1], memory=memory[0], slot=slot)
        return self.feed_forward(x)
