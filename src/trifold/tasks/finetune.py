"""Fine-tuning: the trainer of pre-training on labelled examples, the best weights kept, and an honest judgement.

runs/mine/
    config.json model.safetensors extra.safetensors tokenizer.json task.json    the model with its head and its task
    trifold.json       what was asked, and the judgement
    metrics.jsonl      what was measured on the way
    best-00000200.safetensors   the best weights in training's own form, for a run that goes on
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trifold.batch import Batch
from trifold.config import to_json
from trifold.data.rows import Row, file_digest
from trifold.errors import ConfigError
from trifold.generation import Sampling
from trifold.presets.pretrained import Transformer
from trifold.tasks.account import Account
from trifold.tasks.adapter_folder import learned, require_expressible, write_adapter
from trifold.tasks.build import (
    agree,
    build_task,
    complete,
    named_by_files,
    notes_on_labels,
    put_on,
    remarks,
    save_modules,
    save_task,
    started_from,
)
from trifold.tasks.chat_template import settle_template
from trifold.tasks.choice import choose_metric
from trifold.tasks.config import Generation, Translation
from trifold.tasks.equip import portability, suited
from trifold.tasks.examples import Splits, read_examples
from trifold.tasks.experiment import FineTuning
from trifold.tasks.frame import pack
from trifold.tasks.generation import GenerationTask
from trifold.tasks.judge import judge
from trifold.tasks.loader import ExampleLoader
from trifold.tasks.record import Record
from trifold.tasks.regression import RegressionTask
from trifold.tasks.report import write_task_report
from trifold.tasks.span_qa import SpanQATask
from trifold.tasks.task import Prediction, Task
from trifold.tasks.translation import TranslationTask
from trifold.text import Tokenizer
from trifold.training import Trainer, Training, evaluate_loss
from trifold.training.adapter import add_adapters, merge_adapters
from trifold.training.best import Choice
from trifold.training.description import read_description
from trifold.training.held_out import Evaluation
from trifold.training.loop import Evaluate, Event, Listener
from trifold.training.prepare import choose_model, learn_tokenizer, save_whole
from trifold.training.run import Run, begin

__all__ = ["FineTuneResult", "finetune", "split_records"]

FEW = 20
"""Fewer examples than this judge nothing well."""
SAMPLES = 6
"""Texts of the model's own that a report shows."""


@dataclass(frozen=True, slots=True)
class FineTuneResult:
    """What came out of a run.

    Attributes:
        folder: the run.
        steps, seconds: how long it trained.
        num_parameters: of the model with its head.
        trained_parameters: how many of them moved.
        flops: operations of this process's training, `6 x weights of matrix products x places`; tables are only looked up.
        judgement: metrics with intervals beside baselines, as JSON data.
        account: what became of the columns and rows of the data, as JSON data.
    """

    folder: Path
    steps: int
    seconds: float
    num_parameters: int
    trained_parameters: int
    flops: float
    judgement: dict[str, Any]
    account: dict[str, Any]


def finetune(
    experiment: FineTuning,
    out: str | Path,
    *,
    resume: bool = False,
    strict: bool = False,
    allow: Sequence[str] = (),
    listen: Listener = lambda _: None,
) -> FineTuneResult:
    """Run an experiment.

    Args:
        experiment: what to do.
        out: the run's folder; must not exist, unless `resume`.
        resume: go on from the newest whole checkpoint in `out`.
        strict: refuse a damaged newest checkpoint instead of falling back to the one before.
        allow: what may have changed since the run began, by name.
        listen: is told every stage, step and evaluation.

    Raises:
        ConfigError: the folder exists, or the task does not suit the model.
        DataError: examples are missing or damaged.
    """
    with begin(experiment, out, experiment.training, resume=resume, strict=strict, allow=allow, listen=listen) as run:
        ready = run.group.in_turn(lambda: _prepare(experiment, run))
        trainer = Trainer(ready.model, ready.task, ready.loader, ready.training, group=run.group)
        work = Work(run.listen)
        run.listen = work
        run.train(trainer, ready.tokenizer, data=_hashes(experiment), evaluate=_evaluation(trainer, ready),
                  choice=ready.choice)  # fmt: skip
        return _finish(run, trainer, ready, work)


@dataclass(frozen=True, slots=True)
class Ready:
    """All that a fine-tuning run needs before its first step.

    Attributes:
        before: what the model said of the judged records before it was tuned, where it can say anything.
        training: with its length in steps.
    """

    task: Task
    tokenizer: Tokenizer
    model: Transformer
    splits: Splits
    account: Account
    before: list[Prediction]
    loader: ExampleLoader
    training: Training
    choice: Choice


def _prepare(experiment: FineTuning, run: Run) -> Ready:
    """Read the examples, open or make the model, and put on it what the task needs."""
    data = read_examples(experiment)
    _tell(run.listen, data.account)
    begun = started_from(named_by_files(experiment.task, data.account.columns), experiment.model.start)
    wanted, weights = complete(begun, data.rows["train"])
    data.account.notes += notes_on_labels(experiment.task, wanted)
    torch.manual_seed(experiment.training.seed)
    model, tokenizer = _start(experiment, [row for row, _ in data.rows["train"]], run.folder)
    if isinstance(wanted, Generation):
        wanted, model, added = settle_template(wanted, tokenizer, model)
        if added:
            run.tell("tokens_added", {"count": len(added), "tokens": " ".join(added)})
    task = build_task(agree(wanted, model), tokenizer, model.config, class_weights=weights)
    choice = choose_metric(task, experiment.metric, patience=experiment.patience)
    tokenizer = suited(tokenizer, task)
    splits = data.records(task)
    data.account.notes += remarks(task, portability(model, task.head))
    _tell(run.listen, data.account, splits)
    before = _before(task, model, splits) if run.group.is_first else []
    left = _equip(experiment, task, model)
    if left is not None:
        run.tell("new_head" if left else "head", {"folder": str(experiment.model.start), "differing": ", ".join(left)})
    run.tell("model", {"parameters": model.num_parameters()})
    loader, training = _load(experiment, task, splits)
    data.account.cut["train"] = task.frame.take_cut()
    _say(run.listen, data.account.cut_lines())
    return Ready(task, tokenizer, model, splits, data.account, before, loader, training, choice)


def _tell(listen: Listener, account: Account, splits: Splits | None = None) -> None:
    """Say which columns are read, or how many rows of each split are used, before anything is trained."""
    lines = account.column_lines() if splits is None else account.notes + account.row_lines()
    _say(listen, lines)
    if splits is not None:
        skipped = sum(count.skipped for count in account.splits.values())
        sizes = {"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test), "skipped": skipped}
        listen(Event("examples", details=sizes))
        if len(splits.judged) < FEW:
            listen(Event("few", details={"count": len(splits.judged)}))


def _say(listen: Listener, lines: Sequence[str]) -> None:
    for line in lines:
        listen(Event("account", details={"line": line}))


def _hashes(experiment: FineTuning) -> dict[str, object]:
    return {name: ", ".join(map(file_digest, found)) for name, found in experiment.data.files.items()}


def _evaluation(trainer: Trainer, ready: Ready) -> Evaluate:
    """Loss on records of the dev set, and the metric that chooses."""
    training, choice = ready.training, ready.choice
    chosen = ready.splits.dev[: training.evaluate_rows or None]
    batches = _batches(ready.task, chosen, training.batch_size)

    def measure(model: nn.Module) -> float:
        assert isinstance(model, Transformer)
        return ready.task.measure(chosen, ready.task.predict(model, chosen))[choice.name].score

    def evaluate(_: int) -> Evaluation | None:
        if not chosen:
            return None
        with trainer.weights.computing():
            found = evaluate_loss(trainer.model, ready.task, batches, group=trainer.group)
            if choice.name == "loss":
                return replace(found, metric=found.loss)
            model = trainer.weights.whole_model()
            return replace(found, metric=trainer.group.decide(lambda: measure(model)))

    return evaluate


def _finish(run: Run, trainer: Trainer, ready: Ready, work: "Work") -> FineTuneResult:
    """Save the model, judge it on what it has not seen, and write down both: the first process does, for all."""
    flops = 6.0 * _multiplied(trainer.model, ready.task) * work.places
    model = trainer.weights.whole_model().eval()
    facts = {"steps": trainer.step, "seconds": trainer.seconds, "flops": flops}
    run.group.in_turn(lambda: _publish(run, ready, model, facts) if run.group.is_first else None)
    told = read_description(run.folder)
    return FineTuneResult(run.folder, **told["result"], judgement=told["judgement"], account=told["account"])


def _publish(run: Run, ready: Ready, model: nn.Module, facts: dict[str, Any]) -> None:
    """Save the model, judge it, and describe the run."""
    experiment, task, tokenizer, account = run.experiment, ready.task, ready.tokenizer, ready.account
    assert isinstance(model, Transformer), "so it was made"
    assert isinstance(experiment, FineTuning), "so it was begun"
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    facts |= {"num_parameters": model.num_parameters(), "trained_parameters": trained}
    apart = learned(model)
    if experiment.lora is not None:
        merge_adapters(model)
    _calibrate(task, model, ready.splits.dev)
    if isinstance(task, RegressionTask) and model.task_class is not None:
        task.fold(model)
    run.publish(model, tokenizer, also=lambda folder: save_task(task, folder))
    save_modules(task, run.folder, model.config.d_model)
    write_adapter(run.folder, experiment, model, apart)
    run.listen(Event("evaluate"))
    judgement = _judge(run, ready, model)
    because = portability(model, task.head)
    hashes = _hashes(experiment)
    data = {name: {"file": ", ".join(found), "sha256": hashes[name]} for name, found in experiment.data.files.items()}
    run.describe({"experiment": to_json(experiment), "data": data, "account": account.to_json(), "result": facts,
                  "judgement": judgement, "portable": not because, "because": list(because)})  # fmt: skip
    write_task_report(run.folder)


def _judge(run: Run, ready: Ready, model: Transformer) -> dict[str, Any]:
    """What the model says of the records that it is judged on, beside the baselines."""
    task, splits, account = ready.task, ready.splits, ready.account
    judged, split = splits.judged, "test" if splits.test else "dev"
    task.frame.take_cut()
    said = task.predict(model, judged)
    account.cut[split] = task.frame.take_cut()
    _say(run.listen, account.cut_lines(split))
    others = {"untuned": ready.before} if ready.before else {}
    found = judge(task, judged, said, train=splits.train, others=others)
    samples, unknown = _samples(task, model, judged, said), _unknown_share(ready.tokenizer, judged)
    return {**found, "samples": samples, "split": split, "unknown_tokens": unknown}


def _samples(
    task: Task, model: Transformer, records: Sequence[Record], said: Sequence[Prediction]
) -> list[dict[str, str]]:
    """A few texts of the model's own beside what was asked for, where it writes any."""
    if isinstance(task, GenerationTask):
        said = task.write(model, records[:SAMPLES], Sampling(temperature=0.0))
    elif not isinstance(task, TranslationTask):
        return []
    few = zip(records[:SAMPLES], said, strict=False)
    return [{"input": record.inputs[0], "gold": record.gold, "answer": one.answer} for record, one in few]


def _multiplied(model: nn.Module, task: Task) -> int:
    """How many weights a place is multiplied with: the blocks, the head, and the vocabulary where the task writes."""
    writes = isinstance(task.config, Generation | Translation)
    products = ((name, part) for name, part in model.named_modules() if isinstance(part, torch.nn.Linear))
    return sum(part.weight.numel() for name, part in products if writes or not name.startswith("head."))


class Work:
    """Passes events on and adds up the places that steps went through.

    Args:
        listen: whom to pass events on to.
    """

    def __init__(self, listen: Listener) -> None:
        self.listen, self.places, self._seconds = listen, 0.0, 0.0

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if event.step is not None:
            self.places += event.step.tokens_per_second * (event.step.seconds - self._seconds)
            self._seconds = event.step.seconds
        self.listen(event)


def _calibrate(task: Task, model: Transformer, dev: Sequence[Record]) -> None:
    """Where the dev set has questions without an answer, learn from it when to be silent."""
    if isinstance(task, SpanQATask) and task.config.threshold is None and dev:
        task.config = replace(task.config, threshold=task.choose_threshold(model, dev))


def _unknown_share(tokenizer: Tokenizer, records: Sequence[Record]) -> float:
    """Part of the judged texts' tokens that the tokenizer does not know: high for a language it has never seen."""
    return tokenizer.unknown_share(" ".join(record.inputs) for record in records[:500])


def split_records(experiment: FineTuning, task: Task) -> list[Record]:
    """The records that a run of this experiment is judged on."""
    return read_examples(experiment).records(task).judged


def _start(experiment: FineTuning, rows: Sequence[Row], out: Path) -> tuple[Transformer, Tokenizer]:
    """The model to start from and its tokenizer; from random weights, a tokenizer trained on the examples' text."""
    choice, tokens = experiment.model, experiment.tokenizer
    if choice.start is not None:
        model = Transformer.from_pretrained(choice.start, dials=choice.dials)
        return model, Tokenizer.from_pretrained(tokens.path or choice.start)
    if tokens.path is not None:
        tokenizer = Tokenizer.from_pretrained(tokens.path)
    elif (out / "tokenizer").is_dir():
        tokenizer = Tokenizer.from_pretrained(out / "tokenizer")
    else:
        texts = (text for row in rows for value in row.values.values() for text in _texts_in(value))
        tokenizer = save_whole(learn_tokenizer(texts, tokens, choice), out / "tokenizer")
    preset, dials, shape = choose_model(choice, tokenizer.vocab_size, pad=tokenizer.special.pad)
    return Transformer(shape, preset=preset, dials=dials), tokenizer


def _texts_in(value: Any) -> list[str]:
    """The texts in a value: of a list of words together, of messages each."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [" ".join(value)]
    if isinstance(value, list | dict):
        return [text for one in (value.values() if isinstance(value, dict) else value) for text in _texts_in(one)]
    return [value] if isinstance(value, str) else []


def _before(task: Task, model: Transformer, splits: Splits) -> list[Prediction]:
    """What the model said before it was tuned, where it can say anything: a baseline for instruction tuning."""
    return task.predict(model, splits.judged) if isinstance(task.config, Generation) else []


def _equip(experiment: FineTuning, task: Task, model: Transformer) -> tuple[str, ...] | None:
    """Put on the adapters, freeze what stays, and add what the task needs; what `put_on` says of a head tuned before."""
    if experiment.lora is not None:
        lora = experiment.lora
        alpha = lora.alpha or 2.0 * lora.rank
        add_adapters(model, lora.targets, rank=lora.rank, alpha=alpha, dropout=lora.dropout)
    if experiment.freeze:
        stacks = [stack for stack in (model.encoder, model.decoder) if stack is not None]
        if experiment.freeze > max(len(stack.blocks) for stack in stacks):
            longest = max(len(stack.blocks) for stack in stacks)
            raise ConfigError("config.out_of_range", where="freeze", given=experiment.freeze, allowed=f"<= {longest}")
        for part in [model.embedding, *(block for stack in stacks for block in stack.blocks[: experiment.freeze])]:
            part.requires_grad_(False)
    if isinstance(task, TranslationTask):
        model.generation = task.generation(model.generation)
    left = put_on(model, task, experiment.model.start)
    require_expressible(experiment, model)
    return left


def _load(experiment: FineTuning, task: Task, splits: Splits) -> tuple[ExampleLoader, Training]:
    """The examples in batches, and the training with its length."""
    task.frame.take_cut()
    examples = task.examples(splits.train)
    training = _length(experiment, len(examples))
    return ExampleLoader(examples, batch_size=training.batch_size, pad=task.frame.pad, seed=training.seed), training


def _length(experiment: FineTuning, count: int) -> Training:
    """The training with its length in steps, and ten evaluations in it."""
    training = experiment.training
    if experiment.epochs is not None:
        steps = max(1, round(experiment.epochs * count / (training.batch_size * training.accumulation)))
        training = replace(training, steps=steps, tokens=None, minutes=None)
    if training.evaluate_every == 0:
        training = replace(training, evaluate_every=max(1, (training.steps or 1000) // 10))
    return training


def _batches(task: Task, records: Sequence[Record], size: int) -> list[Batch]:
    """So many whole examples a batch, as in training: the loss of an embedding asks for partners in the same batch."""
    examples = task.examples(records)
    parts = [examples[start : start + size] for start in range(0, len(examples), size)]
    return [pack([one for example in part for one in example], task.frame.pad)[0] for part in parts]
