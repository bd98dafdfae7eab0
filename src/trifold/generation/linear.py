"""Weights for inference: packed as the processor reads them best, or in eight bits, which are fewer to read.

Decoding one token reads every weight once, so how they lie in memory and how many bytes they have is all that counts.

Axes: O outputs, I inputs.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trifold.generation.kernel import MOST_INPUTS, load_kernel
from trifold.native import has_matrix_unit, multiplies_int8

__all__ = ["Int8Linear", "PackedLinear", "RoundedLinear", "StreamedLinear"]

ROWS = {torch.float32: 2, torch.bfloat16: 2, torch.int8: 4}
"""Rows up to which our own kernel is the faster one, by the number format of the weights."""

WHOLE = 64
"""Weights that the largest vector holds."""

FEW = 16
"""Rows up to which torch's product reads the eight bits as they are; above, spreading them out first costs less."""


class StreamedLinear(nn.Linear):
    """A Linear for decoding: few rows, so that reading the weights is all the work (see `kernel`).

    Example:
        >>> plain = nn.Linear(64, 8).to(torch.bfloat16)
        >>> x = torch.randn(1, 64, dtype=torch.bfloat16)
        >>> torch.allclose(StreamedLinear(plain)(x), plain(x), atol=0.02)
        True
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        if not self.weight.is_contiguous():
            self.weight = nn.Parameter(linear.weight.detach().contiguous(), requires_grad=linear.weight.requires_grad)

    def forward(self, input: Float[Tensor, "*places inputs"]) -> Float[Tensor, "*places outputs"]:  # noqa: A002
        """The product."""
        kernel = load_kernel()
        if kernel is None or not self._streams(input):
            return super().forward(input)
        rows = input.reshape(-1, self.in_features).contiguous()
        return kernel.linear(rows, self.weight, self.bias).view(*input.shape[:-1], self.out_features)

    def _streams(self, x: Tensor) -> bool:
        """Whether the kernel, which reads bare memory and knows no gradients, can take this product."""
        weight, few = self.weight, 0 < x.numel() <= ROWS.get(x.dtype, 0) * self.in_features
        alike = (x.dtype, x.device, x.shape[-1]) == (weight.dtype, weight.device, self.in_features)
        recorded = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
        return few and alike and x.device.type == "cpu" and weight.is_contiguous() and not recorded


class PackedLinear(nn.Module):
    """A bfloat16 Linear whose weights are laid once as oneDNN multiplies them, which else happens in every product.

    Without GELU the numbers are the same, bit by bit. The weights cannot be taken out again: for inference only.

    Args:
        linear: what it stands in for, in bfloat16 on the CPU.
        gelu: give the GELU of the product (Hendrycks & Gimpel 2016, by the error function), not rounded between.

    Example:
        >>> from trifold.native import onednn_multiplies_bfloat16
        >>> plain = nn.Linear(64, 8).to(torch.bfloat16)
        >>> x = torch.randn(2, 64, dtype=torch.bfloat16)
        >>> not onednn_multiplies_bfloat16() or torch.equal(PackedLinear(plain)(x), plain(x))
        True
    """

    def __init__(self, linear: nn.Linear, *, gelu: bool = False) -> None:
        super().__init__()
        self.after = ("gelu", [], "none") if gelu else ("none", [], "")
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().contiguous(), 1)  # noqa: SLF001
        self.packed: Tensor = packed

    def forward(self, input: Float[Tensor, "*places inputs"]) -> Float[Tensor, "*places outputs"]:  # noqa: A002
        """The product."""
        return torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, *self.after)  # noqa: SLF001


class Int8Linear(nn.Module):
    """A Linear whose rows of weights are whole numbers from -127 to 127 times one scale each; activations stay as they are.

    Args:
        linear: what it stands in for; its weights are rounded.

    Example:
        >>> plain = nn.Linear(64, 8)
        >>> x = torch.randn(2, 64)
        >>> bool((Int8Linear(plain)(x) - plain(x)).abs().max() < 0.05)
        True
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        exact = linear.weight.detach().float()
        scale = exact.abs().amax(1).clamp(min=1e-12) / 127  # O
        self.weight: Tensor
        self.scale: Tensor
        self.register_buffer("weight", (exact / scale[:, None]).round().to(torch.int8).contiguous())  # O I
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, input: Float[Tensor, "*places inputs"]) -> Float[Tensor, "*places outputs"]:  # noqa: A002
        """The product, in the number format of the input."""
        rows = input.reshape(-1, self.in_features).contiguous()
        kernel = load_kernel() if self._streams(rows) else None
        made = self._spread(rows) if kernel is None else kernel.linear_int8(rows, (self.weight, self.scale), self.bias)
        return made.view(*input.shape[:-1], self.out_features)

    def _streams(self, rows: Tensor) -> bool:
        """Whether the rows are so few that reading the weights is all the work."""
        return len(rows) <= ROWS[torch.int8] and _is_plain(rows) and self._is_as_made()

    def _is_as_made(self) -> bool:
        """Whether the kernel can take its inputs, and scales and bias still have the number formats that it reads."""
        formats = self.scale.dtype == torch.float32 and (self.bias is None or self.bias.dtype == torch.bfloat16)
        return formats and self.in_features <= MOST_INPUTS

    def _is_even(self) -> bool:
        """Whether torch's product of single bytes, which reads whole vectors, reads only what is there."""
        return self.in_features % WHOLE == 0 and self.out_features % WHOLE == 0

    def _spread(self, rows: Tensor) -> Tensor:
        """Torch's way."""
        scale = self.scale.to(rows.dtype)
        if len(rows) > FEW or not _is_plain(rows) or not self._is_even():
            bias = None if self.bias is None else self.bias.to(rows.dtype)
            return F.linear(rows, self.weight * scale[:, None], bias)  # there are fewer weights than outputs
        made = torch.ops.aten._weight_int8pack_mm(rows, self.weight, scale)  # noqa: SLF001 - no public twin
        return made if self.bias is None else made + self.bias


class RoundedLinear(Int8Linear):
    """A Linear in whole numbers on both sides, for many rows at once: each row of the input has a scale of its own too.

    So what comes out for a row does not depend on the rows beside it. Twice as fast as bfloat16 where the processor
    multiplies whole numbers (VNNI), and a little less exact than `Int8Linear`. Without VNNI torch's products of int8 are
    wrong, and with a matrix unit (AMX) those of bfloat16 are the faster ones: there the weights alone are rounded.

    Example:
        >>> plain = nn.Linear(64, 8)
        >>> x = torch.randn(2, 64, dtype=torch.bfloat16)
        >>> bool((RoundedLinear(plain.bfloat16())(x) - plain(x)).abs().max() < 0.1)
        True
    """

    def _spread(self, rows: Tensor) -> Tensor:
        # of one input, torch 2.13 gives arbitrary numbers
        can = _is_plain(rows) and self._is_as_made() and self.in_features > 1
        kernel = load_kernel() if can and multiplies_int8() and not has_matrix_unit() else None
        if kernel is None:
            return super()._spread(rows)
        return kernel.product_int8(rows, (self.weight, self.scale), self.bias)

    def _streams(self, rows: Tensor) -> bool:
        """Never: one row alone is to give what it gives among others."""
        del rows
        return False


def _is_plain(x: Tensor) -> bool:
    """Whether the products of single rows are made for it."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.numel() > 0
