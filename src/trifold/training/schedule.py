"""The learning rate as a pure function of how much of the run is done."""

import math

from trifold.training.config import Schedule

__all__ = ["learning_rate_factor"]


def learning_rate_factor(schedule: Schedule, progress: float) -> float:
    """What the peak learning rate is multiplied by when `progress` (0 to 1) of the run is done.

    Example:
        >>> wsd = Schedule(kind="wsd", warmup=0.1, decay=0.2)
        >>> [round(learning_rate_factor(wsd, p), 2) for p in (0.05, 0.5, 0.9, 1.0)]
        [0.5, 1.0, 0.5, 0.0]
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < schedule.warmup:
        return progress / schedule.warmup
    down = 1.0 - schedule.final
    match schedule.kind:
        case "constant":
            return 1.0
        case "wsd":
            start = 1.0 - schedule.decay
            return 1.0 - down * max(0.0, progress - start) / max(schedule.decay, 1e-12)
        case "linear":
            return 1.0 - down * _since_warmup(schedule, progress)
        case "cosine":
            return schedule.final + down * 0.5 * (1.0 + math.cos(math.pi * _since_warmup(schedule, progress)))


def _since_warmup(schedule: Schedule, progress: float) -> float:
    return (progress - schedule.warmup) / max(1.0 - schedule.warmup, 1e-12)
