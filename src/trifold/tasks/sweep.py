"""Looking for better hyper-parameters: learning rate, batch size and epochs, judged on the dev set only."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trifold.config import override
from trifold.errors import DataError, MissingExtraError, TrifoldError
from trifold.tasks.choice import lower_is_better
from trifold.tasks.experiment import FineTuning
from trifold.tasks.finetune import finetune
from trifold.training.loop import Event, Listener

__all__ = ["Trial", "sweep"]

BATCHES = (8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Trial:
    """One try.

    Attributes:
        number: from 0.
        values: learning rate, batch size and epochs that were tried.
        metric: the best that the dev set showed (the task's first metric, or the loss of a translation); None
            where the try was given up or failed.
        state: `complete`, `pruned` or `failed`.
    """

    number: int
    values: dict[str, float]
    metric: float | None
    state: str


def sweep(
    experiment: FineTuning,
    out: str | Path,
    *,
    trials: int,
    listen: Listener = lambda _: None,
    done: Callable[[Trial], None] = lambda _: None,
) -> tuple[FineTuning, list[Trial]]:
    """Try so many settings; give the experiment with the best of them, and all tries in order.

    Tries that do worse than half of the others at the same point are given up. The test file is not looked at.

    Args:
        experiment: what to vary.
        out: folder under which each try has one of its own.
        trials: how many.
        listen: is told what happens within a try.
        done: is told each try.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("metric.needs_extra", library="optuna", extra="sweep") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    metric = experiment.metric
    higher = not (experiment.task.less_is_better if metric is None else lower_is_better(metric))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    sampler = optuna.samplers.TPESampler(seed=experiment.training.seed)
    study = optuna.create_study(direction="maximize" if higher else "minimize", pruner=pruner, sampler=sampler)
    untested = replace(experiment, data=replace(experiment.data, test=None))
    finished: list[Trial] = []
    for number in range(trials):
        trial = study.ask()
        values = _values(trial)
        place = Path(out) / f"trial-{number}"
        state, metric = _try(_with(untested, values), place, trial, pick=max if higher else min, listen=listen)
        states = {"complete": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED}
        study.tell(
            trial, metric if state == "complete" else None, state=states.get(state, optuna.trial.TrialState.FAIL)
        )
        finished.append(Trial(number, values, metric, state))
        done(finished[-1])
    complete = [trial for trial in finished if trial.metric is not None]
    if not complete:
        return experiment, finished
    best = (max if higher else min)(complete, key=lambda trial: trial.metric or 0.0)
    return _with(experiment, best.values), finished


def _values(trial: Any) -> dict[str, float]:
    return {
        "lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        "batch_size": trial.suggest_categorical("batch_size", BATCHES),
        "epochs": trial.suggest_float("epochs", 1.0, 8.0, step=0.5),
    }


def _with(experiment: FineTuning, values: dict[str, float]) -> FineTuning:
    changes = {
        "training.optimizer.lr": values["lr"],
        "training.batch_size": int(values["batch_size"]),
        "epochs": values["epochs"],
    }
    return override(experiment, changes)


class _Pruned(Exception):  # noqa: N818 - no error
    """The try does worse than the others."""


def _try(
    experiment: FineTuning, out: Path, trial: Any, *, pick: Callable[[list[float]], float], listen: Listener
) -> tuple[str, float | None]:
    seen: list[float] = []

    def watch(event: Event) -> None:
        listen(event)
        if event.evaluation is not None and event.evaluation.metric is not None:
            seen.append(event.evaluation.metric)
            trial.report(seen[-1], len(seen))
            if trial.should_prune():
                raise _Pruned

    try:
        finetune(experiment, out, listen=watch)
    except _Pruned:
        return "pruned", None
    except DataError:
        raise  # no other setting would mend it
    except TrifoldError as error:
        listen(Event("failed", details={"problem": str(error)}))
        return "failed", None
    return ("complete", pick(seen)) if seen else ("failed", None)
