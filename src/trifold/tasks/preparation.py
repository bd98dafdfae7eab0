"""What a fine-tuning run needs before its first step: examples, the model with what its task puts on it, and how long."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trifold.data.rows import Row, file_digest
from trifold.errors import ConfigError
from trifold.presets.pretrained import Transformer
from trifold.tasks.account import Account
from trifold.tasks.adapter_folder import require_expressible
from trifold.tasks.build import complete, put_on, remarks
from trifold.tasks.choice import choose_metric
from trifold.tasks.equip import portability, suited
from trifold.tasks.examples import Splits, read_examples, sample_of
from trifold.tasks.experiment import FineTuning
from trifold.tasks.loader import ExampleLoader
from trifold.tasks.record import Record
from trifold.tasks.task import Prediction, Task
from trifold.text import Tokenizer
from trifold.training import Training
from trifold.training.adapter import add_adapters
from trifold.training.best import Choice
from trifold.training.loop import Event, Listener
from trifold.training.prepare import choose_model, learn_tokenizer, save_whole
from trifold.training.run import Run

__all__ = ["Ready", "prepare", "say"]

FEW = 20
"""Fewer examples than this judge nothing well."""


@dataclass(frozen=True, slots=True)
class Ready:
    """All that a fine-tuning run needs before its first step.

    Attributes:
        before: what the model said of the judged records before it was tuned, where it can say anything.
        training: with its length in steps, where it was given in epochs.
        hashes: of the files of each split.
        count: of the examples to train on.
        linear_seconds: that fitting a linear model to all of them takes; None where there is none.
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
    hashes: dict[str, object]
    count: int
    linear_seconds: float | None


def prepare(experiment: FineTuning, run: Run, *, most: int | None = None) -> Ready:
    """Read the examples, open or make the model, and put on it what the task needs.

    Args:
        experiment: what to do.
        run: whose folder a tokenizer is learned into.
        most: examples that are made ready to train on, for a plan; None for all of them.
    """
    data = read_examples(experiment)
    _tell(run.listen, data.account)
    begun = experiment.task.named_by_files(data.account.columns).started_from(experiment.model.start)
    wanted, weights = complete(begun, data.rows["train"])
    data.account.notes += wanted.notes(experiment.task)
    torch.manual_seed(experiment.training.seed)
    model, tokenizer = _start(experiment, [row for row, _ in data.rows["train"]], run.folder)
    wanted, model, added = wanted.settle(tokenizer, model)
    if added:
        run.tell("tokens_added", {"count": len(added), "tokens": " ".join(added)})
    task = wanted.agree(model).build(tokenizer, model.config, class_weights=weights)
    choice = choose_metric(task, experiment.metric, patience=experiment.patience or 0)
    tokenizer = suited(tokenizer, task)
    splits = data.records(task)
    data.account.notes += remarks(task, portability(model, task.head))
    _tell(run.listen, data.account, splits)
    before = task.before(model, splits.judged) if run.group.is_first and most is None else []
    left = _equip(experiment, task, model)
    if left is not None:
        run.tell("new_head" if left else "head", {"folder": str(experiment.model.start), "differing": ", ".join(left)})
    run.tell("model", {"parameters": model.num_parameters()})
    if task.from_start:
        run.tell("linear", {"count": len(splits.train[:most])})
    loader, count, seconds = _load(experiment, task, model, splits.train, most)
    data.account.cut["train"] = task.frame.take_cut()
    say(run.listen, data.account.cut_lines())
    return Ready(
        task,
        tokenizer,
        model,
        splits,
        data.account,
        before,
        loader,
        _length(experiment, count),
        choice,
        _hashes(experiment),
        count,
        seconds if task.from_start else None,
    )


def _tell(listen: Listener, account: Account, splits: Splits | None = None) -> None:
    """Say which columns are read, or how many rows of each split are used, before anything is trained."""
    lines = account.column_lines() if splits is None else account.notes + account.row_lines()
    say(listen, lines)
    if splits is not None:
        skipped = sum(count.skipped for count in account.splits.values())
        sizes = {"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test), "skipped": skipped}
        listen(Event("examples", details=sizes))
        if len(splits.judged) < FEW:
            listen(Event("few", details={"count": len(splits.judged)}))


def say(listen: Listener, lines: Sequence[str]) -> None:
    """Tell lines about the data, one by one."""
    for line in lines:
        listen(Event("account", details={"line": line}))


def _hashes(experiment: FineTuning) -> dict[str, object]:
    return {name: ", ".join(map(file_digest, found)) for name, found in experiment.data.files.items()}


def _start(experiment: FineTuning, rows: Sequence[Row], out: Path) -> tuple[Transformer, Tokenizer]:
    """The model to start from and its tokenizer; from random weights, a tokenizer trained on the examples' text."""
    choice, tokens = experiment.model, experiment.tokenizer
    if choice.start is not None:
        model = Transformer.from_pretrained(choice.start, overrides=choice.overrides)
        return model, Tokenizer.from_pretrained(tokens.path or choice.start)
    if tokens.path is not None:
        tokenizer = Tokenizer.from_pretrained(tokens.path)
    elif (out / "tokenizer").is_dir():
        tokenizer = Tokenizer.from_pretrained(out / "tokenizer")
    else:
        texts = (text for row in rows for value in row.values.values() for text in _texts_in(value))
        tokenizer = save_whole(learn_tokenizer(texts, tokens, choice), out / "tokenizer")
    preset, options, shape = choose_model(choice, tokenizer.vocab_size, pad=tokenizer.special.pad)
    return Transformer(shape, preset=preset, options=options), tokenizer


def _texts_in(value: Any) -> list[str]:
    """The texts in a value: of a list of words together, of messages each."""
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return [" ".join(value)]
    if isinstance(value, list | dict):
        return [text for entry in (value.values() if isinstance(value, dict) else value) for text in _texts_in(entry)]
    return [value] if isinstance(value, str) else []


def _equip(experiment: FineTuning, task: Task, model: Transformer) -> tuple[str, ...] | None:
    """Put on the adapters, freeze what stays, and add what the task needs; what `put_on` says of a head tuned before."""
    if experiment.lora is not None:
        lora = experiment.lora
        alpha = lora.alpha or 2.0 * lora.rank
        add_adapters(model, lora.targets, rank=lora.rank, alpha=alpha, dropout=lora.dropout)
    if experiment.freeze:
        stacks = [list(dict.fromkeys(stack.blocks)) for stack in (model.encoder, model.decoder) if stack is not None]
        longest = max(map(len, stacks))  # a block that several layers share counts once
        if experiment.freeze > longest:
            raise ConfigError("config.out_of_range", where="freeze", given=experiment.freeze, allowed=f"<= {longest}")
        entries = [model.embedding, *filter(None, [model.decoder_embedding])]
        for part in [*entries, *(block for stack in stacks for block in stack[: experiment.freeze])]:
            part.requires_grad_(False)
    model.generation = task.generation(model.generation)
    left = put_on(model, task, experiment.model.start)
    require_expressible(experiment, model)
    return left


def _load(
    experiment: FineTuning, task: Task, model: Transformer, records: Sequence[Record], most: int | None
) -> tuple[ExampleLoader, int, float]:
    """At most so many examples in batches; how many all are, and the seconds that it takes to make them."""
    task.frame.take_cut()
    start, training, chosen = time.perf_counter(), experiment.training, sample_of(records, most or 0)
    examples = task.training_examples(model, chosen)
    seconds = time.perf_counter() - start
    loader = ExampleLoader(examples, batch_size=training.batch_size, pad=task.frame.pad, seed=training.seed)
    share = len(chosen) / len(records)
    return loader, round(len(examples) / share), seconds / share


def _length(experiment: FineTuning, count: int) -> Training:
    """The training with its length in steps, where it is given in epochs."""
    training = experiment.training
    if experiment.epochs is None:
        return training
    steps = max(1, round(experiment.epochs * count / (training.batch_size * training.accumulation)))
    return replace(training, steps=steps, tokens=None, minutes=None)
