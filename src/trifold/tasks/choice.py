"""Which of a task's metrics chooses the weights of a run."""

from trifold.errors import ConfigError
from trifold.tasks.task import Task
from trifold.training.best import Choice

__all__ = ["choose_metric", "lower_is_better"]

LOWER = frozenset({"loss", "bits_per_byte", "mean_absolute_error", "ter"})


def lower_is_better(name: str) -> bool:
    """Whether less of a metric is better.

    Example:
        >>> lower_is_better("loss"), lower_is_better("accuracy")
        (True, False)
    """
    return name in LOWER


def choose_metric(task: Task, wanted: str | None, *, patience: int = 0) -> Choice:
    """The metric that chooses the weights: the named one, else what the task is chosen by.

    Raises:
        ConfigError: the task has no such metric.
    """
    allowed = [*task.metrics, "loss"]
    name = wanted or task.default_metric
    if name not in allowed:
        raise ConfigError("config.out_of_range", where="metric", given=name, allowed=", ".join(allowed))
    return Choice(name, higher=not lower_is_better(name), patience=patience, from_start=task.from_start)
