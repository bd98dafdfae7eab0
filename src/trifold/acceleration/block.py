"""Feed-forward and residual, whose sums are made while the last product or the dropout is computed.

Axes: B batch, S sequence, D d_model, F d_ff.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from trifold import native
from trifold.acceleration.attention import FastAttention
from trifold.acceleration.hooks import is_heard
from trifold.acceleration.linear import add_product, project
from trifold.acceleration.simple import FastDropout, FastGELU
from trifold.model import FeedForward, Residual

__all__ = ["FastFeedForward", "FastResidual"]


class FastFeedForward(FeedForward):
    """`down(activation(up x))`, the activation computed with the product after it, or with the gate."""

    def forward(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        """Each token by itself."""
        return self.add(None, x)

    def add(self, residual: Tensor | None, x: Tensor) -> Tensor:
        """The same, added to `residual` where there is one."""
        activation, dropout = _name(self.activation), self.dropout
        if activation is None or not isinstance(dropout, nn.Dropout) or is_heard(self.activation, dropout):
            made = super().forward(x)
            return made if residual is None else residual + made
        if self.gate_proj is None:
            inner = self.up_proj(x)  # B S F
        else:
            up, inner = project(x, self.up_proj, self.gate_proj)
            inner, activation = native.gate(activation, inner, up), "identity"
        if self.training and dropout.p > 0.0:
            inner, activation = dropout(native.activate(activation)(inner)), "identity"
        return add_product(residual, inner, self.down_proj, activation=activation)


class FastResidual(Residual):
    """A residual that the branch, or the dropout, adds its result to."""

    def forward(self, x: Float[Tensor, "batch seq d_model"], *inputs: Any, **named: Any) -> Tensor:
        """Add what the branch makes of `x` and of whatever else it takes."""
        inner, branch, branch_norm, dropout = self.pre_norm(x), self.branch, self.branch_norm, self.dropout
        drops = not isinstance(dropout, nn.Dropout) or (self.training and dropout.p > 0.0)
        bare = type(branch_norm) is nn.Identity and not is_heard(branch_norm, dropout, branch)
        if bare and not drops and (type(branch) is FastAttention or type(branch) is FastFeedForward):
            return self.post_norm(branch.add(x, inner, *inputs, **named))
        out = branch_norm(branch(inner, *inputs, **named))
        if type(dropout) is FastDropout and not is_heard(dropout):
            return self.post_norm(dropout.add(x, out))
        return self.post_norm(x + dropout(out))


def _name(activation: nn.Module) -> native.Activation | None:
    """The name by which kernels know an activation; None for one that they do not know."""
    kind = type(activation)
    if kind in (nn.GELU, FastGELU):
        return "gelu_tanh" if getattr(activation, "approximate", "none") == "tanh" else "gelu"
    return NAMES.get(kind)


NAMES: dict[type[nn.Module], native.Activation] = {nn.Identity: "identity", nn.ReLU: "relu", nn.SiLU: "silu"}
