"""Steps that went wrong: whose loss or gradient is no number, or stands out from those of the steps before."""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

__all__ = ["BadSteps"]

RECENT, FEWEST = 64, 16
"""Good steps that a spike is measured against, and how many there must be."""
MOST = 3
"""Bad steps one after another that end a run."""


class BadSteps:
    """Tells good steps from bad ones.

    Args:
        spike: how many times the median of recent steps a loss or a gradient may be; None for any number.

    Attributes:
        in_a_row: how many bad steps came one after another.

    Example:
        >>> steps = BadSteps(spike=None)
        >>> steps.is_good(loss=2.0, norm=1.0), steps.is_good(loss=math.nan, norm=1.0), steps.in_a_row
        (True, False, 1)
    """

    def __init__(self, spike: float | None) -> None:
        self.spike, self.in_a_row = spike, 0
        self._recent: dict[str, deque[float]] = {"loss": deque(maxlen=RECENT), "norm": deque(maxlen=RECENT)}

    def is_good(self, *, loss: float, norm: float) -> bool:
        """Whether loss and norm of the gradient are numbers, and no spikes where spikes are looked for."""
        values = {"loss": loss, "norm": norm}
        good = all(map(math.isfinite, values.values()))
        if good and self.spike is not None and len(self._recent["loss"]) >= FEWEST:
            limit = self.spike
            good = all(value <= limit * statistics.median(self._recent[name]) for name, value in values.items())
        self.in_a_row = 0 if good else self.in_a_row + 1
        for name, value in values.items() if good else ():
            self._recent[name].append(value)
        return good

    @property
    def too_many(self) -> bool:
        """Whether so many came one after another that leaving them out no longer helps."""
        return self.in_a_row >= MOST

    def state(self) -> dict[str, object]:
        """All that a later process needs to go on."""
        return {"bad": self.in_a_row, "recent": {name: list(values) for name, values in self._recent.items()}}

    def load_state(self, numbers: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.in_a_row = int(numbers["bad"])
        self._recent = {name: deque(map(float, numbers["recent"][name]), maxlen=RECENT) for name in self._recent}
