"""How near two ways of computing the same must be: by the number format and the size of the sums, not by one machine."""

import torch
from torch import Tensor

__all__ = ["LAYERS", "assert_as_exact", "assert_same_sums", "rounding"]

LAYERS = 64
"""Products and sums that follow one another in a model of a few blocks; each is over `d_model` terms or more."""


def rounding(dtype: torch.dtype, *, terms: int, scale: float) -> float:
    """What a sum of so many terms, each up to `scale` in size, may be off by in a number format.

    Each addition rounds by half an epsilon of what it has reached; the errors of two orders of adding are independent, so
    they grow with the root of the number of terms. Four standard deviations of the difference of two such sums.
    """
    return 4.0 * torch.finfo(dtype).eps * max(terms, 1) ** 0.5 * scale


def assert_same_sums(made: Tensor, wanted: Tensor, *, terms: int) -> None:
    """Two ways of adding the same terms, in the format of `made`, differ by rounding alone."""
    bound = rounding(made.dtype, terms=terms, scale=max(1.0, float(wanted.detach().abs().max())))
    worst = float((made.detach().double() - wanted.detach().double()).abs().max())
    assert worst <= bound, (
        f"{worst:.3g} apart, {bound:.3g} allowed in {made.dtype} at {float(wanted.detach().abs().max()):.3g}"
    )


def assert_as_exact(made: Tensor, plain: Tensor, exact: Tensor, *, times: float = 4.0) -> None:
    """`made` is about as near to the exact numbers as `plain`, another way of computing them in the same format.

    Both are off by what the format rounds in all layers together; which of them is luckier depends on the processor.
    """
    ours, theirs = (float((x.double() - exact.double()).abs().max()) for x in (made, plain))
    bound = times * max(theirs, torch.finfo(plain.dtype).eps * float(exact.abs().max()))
    assert ours <= bound, f"{ours:.3g} from the exact numbers, the plain way {theirs:.3g}, {bound:.3g} allowed"
