"""What a check finds."""

from dataclasses import dataclass

from torch import Tensor

from trifold.locale import message

__all__ = ["Finding", "difference", "measured", "not_for"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether it holds (None: does not apply), and what was measured."""

    passed: bool | None
    detail: str


def measured(value: float, bound: float) -> Finding:
    """A difference against its bound.

    Example:
        >>> measured(1e-16, 1e-10).passed
        True
    """
    return Finding(value <= bound, message("doctor.difference", value=f"{value:.1e}", bound=f"{bound:.0e}"))


def not_for(reason: str, **values: object) -> Finding:
    """A check that does not apply, and why."""
    return Finding(None, message(f"doctor.{reason}", **values))


def difference(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest number (at least 1); infinite where one is no number.

    Example:
        >>> import torch
        >>> difference(torch.tensor([4.0, 2.0]), torch.tensor([4.0, 1.0]))
        0.25
    """
    if actual.shape != expected.shape or not (actual.isfinite().all() and expected.isfinite().all()):
        return float("inf")
    if not actual.numel():
        return 0.0
    return float((actual - expected).abs().max() / expected.abs().max().clamp(min=1.0))
