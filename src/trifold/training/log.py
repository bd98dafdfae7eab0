"""Where a run writes what it measured: `metrics.jsonl`, `metrics.csv` and, on request, TensorBoard."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from trifold.errors import MissingExtraError

__all__ = ["COLUMNS", "MetricLog", "NoLog"]

COLUMNS: tuple[str, ...] = (
    "step",
    "tokens",
    "seconds",
    "loss",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "valid_loss",
    "valid_bits_per_byte",
    "valid_metric",
)


class MetricLog:
    """Appends one record a logged step to every log of a run.

    Args:
        folder: the run's folder.
        resume_after: forget what earlier processes wrote after this step, since it will be done again.
        tensorboard: also write event files under `folder/tensorboard`.

    Raises:
        MissingExtraError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, resume_after: int = 0, tensorboard: bool = False) -> None:
        self.folder = folder
        self._open(resume_after)
        self._events = _event_writer(folder / "tensorboard", resume_after) if tensorboard else None

    def _open(self, resume_after: int) -> None:
        folder = self.folder
        self._forget(folder / "metrics.jsonl", resume_after)
        kept = read_metrics(folder)
        self._lines: TextIO = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._table: TextIO = (folder / "metrics.csv").open("w", encoding="utf-8", newline="")
        self._rows = csv.DictWriter(self._table, COLUMNS, restval="")
        self._rows.writeheader()
        self._rows.writerows(kept)

    def rewind(self, step: int) -> None:
        """Forget what was written after this step, since it will be done again in another way."""
        self._lines.close()
        self._table.close()
        self._open(step)

    @staticmethod
    def _forget(path: Path, step: int) -> None:
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, record: Mapping[str, float | None]) -> None:
        """Add one record; its keys are among `COLUMNS`."""
        known = {key: value for key, value in record.items() if value is not None}
        self._lines.write(json.dumps(known) + "\n")
        self._lines.flush()
        self._rows.writerow(known)
        self._table.flush()
        if self._events is not None:
            for key, value in known.items():
                if key != "step":
                    self._events.add_scalar(key, value, int(known["step"]))

    def __enter__(self) -> "MetricLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._table.close()
        if self._events is not None:
            self._events.close()


class NoLog(MetricLog):
    """Writes nothing: the log of a process that another one writes for."""

    def __init__(self) -> None:
        pass

    def rewind(self, step: int) -> None:
        """Nothing is there to forget."""

    def write(self, record: Mapping[str, float | None]) -> None:
        """Nothing is written."""

    def __exit__(self, *_: object) -> None:
        pass


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):  # a line cut off by a crash
        return float("inf")


def _event_writer(folder: Path, purge: int):  # noqa: ANN202 - the type belongs to an optional library
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("training.no_tensorboard") from None
    return SummaryWriter(str(folder), purge_step=purge + 1 if purge else None)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """All records of a run, oldest first; empty where there are none."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if _step_of(line) != float("inf")]
