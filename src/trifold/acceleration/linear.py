"""Products by weights, with what comes before and after them: bias, activation, and what they are added to."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trifold import native
from trifold.acceleration.hooks import is_heard

__all__ = ["FastLinear", "add_product", "project"]


class FastLinear(nn.Linear):
    """`x weight^T + bias`, as torch's own, which copies the bias into the result first.

    Example:
        >>> import torch
        >>> layer = FastLinear(2, 3).bfloat16()
        >>> layer(torch.ones(1, 2).bfloat16()).shape
        torch.Size([1, 3])
    """

    def forward(self, input: Float[Tensor, "*places inputs"]) -> Float[Tensor, "*places outputs"]:  # noqa: A002
        """The product."""
        weight, bias = self.weight, self.bias
        if not native.fits_product(input, weight, bias):
            return F.linear(input, weight, bias)
        return native.multiply(input, (weight, bias))[0]


def add_product(
    residual: Float[Tensor, "*places outputs"] | None,
    x: Float[Tensor, "*places inputs"],
    linear: nn.Module,
    *,
    activation: native.Activation = "identity",
) -> Float[Tensor, "*places outputs"]:
    """`residual + linear(activation(x))`. Only `x` is kept for the way back, where the activation is computed again.

    Args:
        residual: what the product is added to, where there is something.
        x: what is multiplied.
        linear: a Linear, or whatever stands in for one.
        activation: before the product.

    Example:
        >>> import torch
        >>> add_product(torch.ones(2, 4), torch.zeros(2, 3), nn.Linear(3, 4, bias=False), activation="relu").shape
        torch.Size([2, 4])
    """
    whole, weights = native.load_products() is not None, None
    if (whole or activation == "gelu_tanh") and isinstance(linear, FastLinear) and _fits(linear, x):
        weights = linear.weight, linear.bias
    if weights and whole and (residual is None or residual.dtype == x.dtype):
        return native.multiply(x, weights, activation=activation, residual=residual)[0]
    if weights and activation == "gelu_tanh":
        product = native.multiply(x, weights, activation=activation)[0]
    else:
        product = linear(native.activate(activation)(x))
    return product if residual is None else residual + product


def project(x: Float[Tensor, "*places inputs"], *linears: nn.Module) -> tuple[Float[Tensor, "*places outputs"], ...]:
    """`linear(x)` of each, whose gradients for `x` are added up while they are multiplied.

    Example:
        >>> import torch
        >>> [made.shape[-1] for made in project(torch.zeros(2, 3), nn.Linear(3, 4), nn.Linear(3, 5))]
        [4, 5]
    """
    if native.load_products() is not None:
        weights = [(one.weight, one.bias) for one in linears if isinstance(one, FastLinear) and _fits(one, x)]
        if len(weights) == len(linears):
            return native.multiply(x, *weights)
    return tuple(linear(x) for linear in linears)


def _fits(linear: FastLinear, x: Tensor) -> bool:
    """Whether its product may be computed for it: it is the twin itself, nobody listens, and the kernel fits."""
    plain = type(linear) is FastLinear and not is_heard(linear)
    return plain and native.fits_product(x, linear.weight, linear.bias)
