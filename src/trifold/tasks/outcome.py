"""What a fine-tuning run leaves behind: the model in its folder, and an honest judgement of it."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from trifold.config import to_json
from trifold.presets.pretrained import Transformer
from trifold.tasks.adapter_folder import learned, write_adapter
from trifold.tasks.build import save_task
from trifold.tasks.equip import portability
from trifold.tasks.experiment import FineTuning
from trifold.tasks.familiar import Familiar
from trifold.tasks.judge import judge
from trifold.tasks.preparation import Ready, say
from trifold.tasks.record import Record
from trifold.tasks.report import write_task_report
from trifold.tasks.task import Prediction, Task
from trifold.text import Tokenizer
from trifold.training.adapter import merge_adapters
from trifold.training.loop import Event
from trifold.training.run import Run

__all__ = ["publish"]

SAMPLES = 6
"""Texts of the model's own that a report shows."""


def publish(run: Run, ready: Ready, model: nn.Module, facts: dict[str, Any]) -> None:
    """Save the model, judge it, and describe the run."""
    experiment, task, tokenizer, account = run.experiment, ready.task, ready.tokenizer, ready.account
    assert isinstance(model, Transformer), "so it was made"
    assert isinstance(experiment, FineTuning), "so it was begun"
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    facts |= {"num_parameters": model.num_parameters(), "trained_parameters": trained}
    apart = learned(model)
    if experiment.lora is not None:
        merge_adapters(model)
    task.calibrate(model, ready.splits.dev)
    task.fold(model)
    run.publish(model, tokenizer, also=lambda folder: save_task(task, folder))
    task.write_beside(run.folder, model.config.d_model)
    write_adapter(run.folder, experiment, model, apart)
    run.listen(Event("evaluate"))
    judgement = _judge(run, ready, model)
    because = portability(model, task.head)
    familiar = Familiar.learned(ready.splits.train, translates=task.translates)
    data = {
        name: {"file": ", ".join(found), "sha256": ready.hashes[name]} for name, found in experiment.data.files.items()
    }
    run.describe(
        {
            "experiment": to_json(experiment),
            "data": data,
            "account": account.to_json(),
            "result": facts,
            "judgement": judgement,
            "portable": not because,
            "because": list(because),
            "texts": to_json(familiar),
        }
    )
    write_task_report(run.folder)


def _judge(run: Run, ready: Ready, model: Transformer) -> dict[str, Any]:
    """What the model says of the records that it is judged on, beside the baselines."""
    task, splits, account = ready.task, ready.splits, ready.account
    judged, split = splits.judged, "test" if splits.test else "dev"
    task.frame.take_cut()
    said = task.predict(model, judged)
    account.cut[split] = task.frame.take_cut()
    say(run.listen, account.cut_lines(split))
    others = {"untuned": ready.before} if ready.before else {}
    found = judge(task, judged, said, train=splits.train, others=others)
    samples, unknown = _samples(task, model, judged, said), _unknown_share(ready.tokenizer, judged)
    return {**found, "samples": samples, "split": split, "unknown_tokens": unknown}


def _samples(
    task: Task, model: Transformer, records: Sequence[Record], said: Sequence[Prediction]
) -> list[dict[str, str]]:
    """A few texts of the model's own beside what was asked for, where it writes any."""
    few = zip(records, task.samples(model, records[:SAMPLES], said), strict=False)
    return [{"input": record.inputs[0], "gold": record.gold, "answer": one.answer} for record, one in few]


def _unknown_share(tokenizer: Tokenizer, records: Sequence[Record]) -> float:
    """Part of the judged texts' tokens that the tokenizer does not know: high for a language it has never seen."""
    return tokenizer.unknown_share(" ".join(record.inputs) for record in records[:500])
