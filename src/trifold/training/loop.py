"""The loop around a trainer's steps: log, evaluate, save, stop when asked to, go back when a step goes wrong."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from trifold.batch import PER_ROW, Batch, Layout
from trifold.errors import NonFiniteError, PreemptedError
from trifold.locale import message
from trifold.training.held_out import Evaluation
from trifold.training.interrupt import Stop, stoppable
from trifold.training.log import MetricLog
from trifold.training.save import Saver
from trifold.training.step import Step
from trifold.training.trainer import Trainer

__all__ = ["Evaluate", "Event", "Listener", "measures", "train"]

ROLLBACKS = 3
Listener = Callable[["Event"], None]
Evaluate = Callable[[int], Evaluation | None]
"""The loss on held-out data over at most so many rows (0 for all); None where nothing is held out."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a run tells while it goes on: a stage that begins, a step, or a held-out evaluation.

    Attributes:
        stage: `tokenizer`, `data`, `examples`, `head`, `model`, `train`, `evaluate` or `save`.
        step: the step just done; None outside training.
        evaluation: the evaluation just done; None otherwise.
        details: numbers worth showing, by name.
    """

    stage: str
    step: Step | None = None
    evaluation: Evaluation | None = None
    details: Mapping[str, float | int | str] | None = None


def train(trainer: Trainer, saver: Saver, *, log: MetricLog, listen: Listener, evaluate: Evaluate) -> bool:
    """Train to the end, or until an evaluation says that it is enough; whatever ends it, what was learned is saved.

    Args:
        trainer: brought to the state to go on from.
        saver: of its checkpoints.
        log: where measurements go.
        listen: is told every step and evaluation.
        evaluate: held-out loss over at most so many rows (0 for all); None where nothing is held out.

    Returns:
        Whether an evaluation said that it is enough.

    Raises:
        PreemptedError: a signal stopped it.
        NonFiniteError: a step went wrong and is not to be left out; its batches are saved beside the checkpoints.
        StorageError: a checkpoint could not be written.
    """
    training, valid = trainer.training, None
    with stoppable() as stop:
        trainer.between = lambda: _between_passes(trainer, saver, stop)
        try:
            for step in _steps(trainer, saver, log):
                listen(Event("train", step=step))
                evaluation = _evaluate_if_due(step, trainer, evaluate, stop)
                valid = valid if evaluation is None else evaluation.loss
                _tell(step, evaluation, log, listen, every=training.log_every)
                saver.check()
                if training.checkpoint_every and step.step % training.checkpoint_every == 0:
                    saver.save(valid)
                if evaluation is not None and evaluation.enough:
                    return True
                if stop.hear(trainer.group.largest(stop.number)):
                    raise stop.error(step.step)
        except NonFiniteError as error:
            _keep_suspect(saver.root.parent, trainer, error)
            raise
        finally:
            _save_rest(trainer, saver, valid)
    return False


def _save_rest(trainer: Trainer, saver: Saver, valid: float | None) -> None:
    """Save what is not saved yet, as far as this process can: where it fails alone, the others do not come here."""
    error, group = sys.exception(), trainer.group
    all_come = error is None or isinstance(error, NonFiniteError | PreemptedError)
    if trainer.is_whole and saver.place > saver.saved and (all_come or not group.in_step):
        saver.save(valid)
    if all_come:
        group.in_turn(saver.finish)
    else:
        saver.finish()


def _steps(trainer: Trainer, saver: Saver, log: MetricLog) -> Iterator[Step]:
    """The trainer's steps; where one goes wrong and the run may go back, those from the newest checkpoint on."""
    for _ in range(ROLLBACKS):
        try:
            yield from trainer.steps()
        except NonFiniteError as error:
            if trainer.training.on_bad_step != "rollback" or not trainer.group.in_turn(saver.roll_back):
                raise
            log.rewind(trainer.step)
            if trainer.group.is_first:
                warnings.warn(message("training.rolled_back", problem=str(error), step=trainer.step), stacklevel=2)
        else:
            return
    yield from trainer.steps()


def _between_passes(trainer: Trainer, saver: Saver, stop: Stop) -> None:
    every, partial = trainer.training.checkpoint_passes, trainer.partial
    if every and partial is not None and partial.passes % every == 0:
        saver.save()
    if stop.asked:
        raise stop.error(trainer.step)


def _evaluate_if_due(step: Step, trainer: Trainer, evaluate: Evaluate, stop: Stop) -> Evaluation | None:
    training = trainer.training
    if not training.evaluate_every or step.step % training.evaluate_every or step.progress >= 1:
        return None
    with stop.at_once(step.step) if trainer.group.size == 1 else nullcontext():
        return evaluate(training.evaluate_rows)


def _keep_suspect(out: Path, trainer: Trainer, error: NonFiniteError) -> None:
    """Write down the batches of a bad step, so that it can be looked at."""
    tensors = {
        f"{number}.{name}": value.contiguous()
        for number, batch in enumerate(trainer.suspect)
        for name, value in _parts(batch).items()
    }
    facts = {name: str(value) for name, value in error.values.items()} | {"seed": str(trainer.training.seed)}
    if tensors and trainer.group.is_first:
        save_file(tensors, out / f"bad-step-{trainer.step + 1:08d}.safetensors", metadata=facts)


def _parts(batch: Batch) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in PER_ROW:
        value = getattr(batch, name)
        if isinstance(value, Layout):
            parts = {f"{name}.{slot}": getattr(value, slot) for slot in value.__slots__}
            tensors |= {path: tensor for path, tensor in parts.items() if tensor is not None}
        elif value is not None:
            tensors[name] = value
    return tensors | {f"extras.{name}": value for name, value in batch.extras.items()}


def _tell(step: Step, evaluation: Evaluation | None, log: MetricLog, listen: Listener, *, every: int) -> None:
    if evaluation is not None:
        listen(Event("evaluate", evaluation=evaluation))
    if evaluation is not None or step.step % every == 0 or step.progress >= 1:
        log.write({**_logged(step), **measures(evaluation)})


def _logged(step: Step) -> dict[str, float]:
    names = ("step", "tokens", "seconds", "loss", "learning_rate", "gradient_norm", "tokens_per_second")
    return {name: getattr(step, name) for name in names}


def measures(evaluation: Evaluation | None) -> dict[str, float]:
    """An evaluation as columns of the log."""
    if evaluation is None:
        return {}
    bits = {} if evaluation.bits_per_byte is None else {"valid_bits_per_byte": evaluation.bits_per_byte}
    metric = {} if evaluation.metric is None else {"valid_metric": evaluation.metric}
    return {"valid_loss": evaluation.loss, **bits, **metric}
