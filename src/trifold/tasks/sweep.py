"""Looking for better hyper-parameters: learning rate, batch size and epochs, judged on the dev set only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trifold.config import override
from trifold.errors import DataError, MissingExtraError, PreemptedError, TrifoldError
from trifold.tasks.choice import lower_is_better
from trifold.tasks.experiment import FineTuning
from trifold.tasks.finetune import finetune
from trifold.training.loop import Event, Listener

__all__ = ["VARIED", "Trial", "sweep"]

BATCHES = (8, 16, 32, 64)
VARIED = ("lr", "batch_size", "epochs")
"""What is varied unless something else is said."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One try.

    Attributes:
        number: from 0.
        values: what was varied, by name: learning rate, batch size, epochs.
        metric: the best that the dev set showed (the task's first metric, or the loss of a translation); None
            where the try was given up or failed.
        state: `complete`, `pruned`, `failed` or `stopped`.
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
    vary: Sequence[str] = VARIED,
    listen: Listener = lambda _: None,
    done: Callable[[Trial], None] = lambda _: None,
) -> tuple[FineTuning, list[Trial]]:
    """Try so many settings; give the experiment with the best of them, and all tries in order.

    Tries that do worse than half of the others at the same point are given up. The test file is not looked at. Where the
    length of the experiment is in steps or minutes, each try has so many steps, or its share of the minutes.

    Args:
        experiment: what to vary.
        out: folder under which each try has one of its own.
        trials: how many.
        vary: what to vary of `lr`, `batch_size` and `epochs`; the rest stays as it is.
        listen: is told what happens within a try.
        done: is told each try.

    Raises:
        MissingExtraError: Optuna is not installed.
        PreemptedError: a signal stopped it; says which try was the best so far.
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
    names = [name for name in vary if name != "epochs" or experiment.epochs is not None]
    pick = max if higher else min
    for number in range(trials):
        trial = study.ask()
        values = _values(trial, names)
        place = Path(out) / f"trial-{number}"
        tried = _share(_with(untested, values), trials)
        state, metric = _try(tried, place, trial, pick=pick, listen=listen)
        states = {"complete": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED}
        study.tell(
            trial, metric if state == "complete" else None, state=states.get(state, optuna.trial.TrialState.FAIL)
        )
        finished.append(Trial(number, values, metric, state))
        done(finished[-1])
        if state == "stopped":
            break
    complete = [trial for trial in finished if trial.metric is not None]
    best = pick(complete, key=lambda trial: trial.metric or 0.0) if complete else None
    if finished and finished[-1].state == "stopped":
        number = "-" if best is None else best.number
        raise PreemptedError("task.sweep_stopped", number=len(finished) - 1, best=number, path=out)
    return experiment if best is None else _with(experiment, best.values), finished


def _values(trial: Any, names: Sequence[str]) -> dict[str, float]:
    """A value of each name to try, in an order that the sampler knows."""
    suggest: dict[str, Callable[[], float]] = {
        "lr": lambda: trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        "batch_size": lambda: trial.suggest_categorical("batch_size", BATCHES),
        "epochs": lambda: trial.suggest_float("epochs", 1.0, 8.0, step=0.5),
    }
    return {name: suggest[name]() for name in names}


def _with(experiment: FineTuning, values: dict[str, float]) -> FineTuning:
    places = {"lr": "training.optimizer.lr", "batch_size": "training.batch_size", "epochs": "epochs"}
    return override(experiment, {places[name]: value for name, value in values.items()})


def _share(experiment: FineTuning, trials: int) -> FineTuning:
    """The experiment with one try's share of the minutes, where it is minutes that say how long."""
    minutes = experiment.training.minutes
    if minutes is None or experiment.epochs is not None:
        return experiment
    return replace(experiment, training=replace(experiment.training, minutes=minutes / trials))


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
    except PreemptedError:
        return "stopped", None
    except TrifoldError as error:
        listen(Event("failed", details={"problem": str(error)}))
        return "failed", None
    return ("complete", pick(seen)) if seen else ("failed", None)
