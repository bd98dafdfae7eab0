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

from trifold.batch import Batch
from trifold.config import to_json
from trifold.data.rows import Row, file_digest
from trifold.errors import ConfigError
from trifold.presets.pretrained import Transformer
from trifold.tasks.account import Account
from trifold.tasks.adapter_folder import learned, require_expressible, write_adapter
from trifold.tasks.best import Best, choose_metric
from trifold.tasks.build import complete, put_on, remarks, save_task
from trifold.tasks.equip import portability, suited
from trifold.tasks.examples import Splits, read_examples
from trifold.tasks.experiment import FineTuning
from trifold.tasks.frame import pack
from trifold.tasks.judge import judge
from trifold.tasks.loader import ExampleLoader
from trifold.tasks.record import Record
from trifold.tasks.report import write_task_report
from trifold.tasks.task import Prediction, Task
from trifold.text import Tokenizer
from trifold.training import Trainer, Training, evaluate_loss
from trifold.training.adapter import add_adapters, merge_adapters
from trifold.training.held_out import Evaluation
from trifold.training.log import MetricLog
from trifold.training.loop import Event, Listener, train
from trifold.training.memory import keep_freed_memory
from trifold.training.prepare import choose_model, learn_tokenizer
from trifold.training.run import claimed, open_saver, write_facts
from trifold.training.save import Saver, publish_model

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
    out = Path(out)
    keep_freed_memory()
    with claimed(out, experiment, resume=resume, allow=allow) as claim:
        data = read_examples(experiment)
        _tell(listen, data.account)
        begun = experiment.task.named_by_files(data.account.columns).started_from(experiment.model.start)
        wanted, weights = complete(begun, data.rows["train"])
        data.account.notes += wanted.notes(experiment.task)
        torch.manual_seed(experiment.training.seed)
        model, tokenizer = _start(experiment, [row for row, _ in data.rows["train"]], out)
        wanted, model, added = wanted.settle(tokenizer, model)
        if added:
            listen(Event("tokens_added", details={"count": len(added), "tokens": " ".join(added)}))
        task = wanted.agree(model).build(tokenizer, model.config, class_weights=weights)
        choice = choose_metric(task, experiment.metric)
        tokenizer = suited(tokenizer, task)
        splits = data.records(task)
        data.account.notes += remarks(task, portability(model, task.head))
        _tell(listen, data.account, splits)
        before = task.before(model, splits.judged)
        left = _prepare(experiment, task, model)
        if left is not None:
            details = {"folder": str(experiment.model.start), "differing": ", ".join(left)}
            listen(Event("new_head" if left else "head", details=details))
        listen(Event("model", details={"parameters": model.num_parameters()}))
        trainer = _trainer(experiment, task, model, splits)
        data.account.cut["train"] = task.frame.take_cut()
        _say(listen, data.account.cut_lines())
        saver = open_saver(out, trainer, tokenizer, data=_hashes(experiment), claim=claim, strict=strict)
        claim.trains = True
        work = Work(listen)
        best = Best(out, trainer, choice=choice, patience=experiment.patience)
        _learn(experiment, best, task, splits, saver=saver, work=work)
        return _finish(
            experiment, best, task, splits, before=before, tokenizer=tokenizer, work=work, account=data.account
        )


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


def _learn(experiment: FineTuning, best: Best, task: Task, splits: Splits, *, saver: Saver, work: "Work") -> None:
    """Train, keeping the best weights by the dev set."""
    training, trainer = experiment.training, best.trainer
    chosen = splits.dev[: training.evaluate_rows or None]
    batches = _batches(task, chosen, training.batch_size)
    with MetricLog(best.out, resume_after=trainer.step, tensorboard=training.tensorboard) as log:

        def evaluate(_: int) -> Evaluation | None:
            return best.consider(_evaluate(best, task, chosen, batches)) if chosen else None

        train(trainer, saver, log=log, listen=work, evaluate=evaluate)
        evaluate(training.evaluate_rows)
    best.restore()


def _finish(
    experiment: FineTuning,
    best: Best,
    task: Task,
    splits: Splits,
    *,
    before: Sequence[Prediction],
    tokenizer: Tokenizer,
    work: "Work",
    account: Account,
) -> FineTuneResult:
    """Save the model, judge it on what it has not seen, and write down both."""
    out, trainer = best.out, best.trainer
    model = trainer.model.eval()
    assert isinstance(model, Transformer)
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    count, apart = model.num_parameters(), learned(model)
    if experiment.lora is not None:
        merge_adapters(model)
    task.calibrate(model, splits.dev)
    task.fold(model)
    publish_model(model, tokenizer, out, also=lambda folder: save_task(task, folder))
    task.write_beside(out, model.config.d_model)
    write_adapter(out, experiment, model, apart)
    work.listen(Event("evaluate"))
    judged = splits.judged
    untuned = {"untuned": list(before)} if before else {}
    task.frame.take_cut()
    said = task.predict(model, judged)
    split = "test" if splits.test else "dev"
    account.cut[split] = task.frame.take_cut()
    _say(work.listen, account.cut_lines(split))
    found = judge(task, judged, said, train=splits.train, others=untuned)
    found["samples"] = _samples(task, model, judged, said)
    found["split"] = split
    found["unknown_tokens"] = _unknown_share(tokenizer, judged)
    flops = 6.0 * _multiplied(model, task) * work.places
    result = FineTuneResult(out, trainer.step, trainer.seconds, count, trained, flops, found, account.to_json())
    _describe(out, experiment, result, portability(model, task.head))
    write_task_report(out)
    work.listen(Event("save", details={"folder": str(out)}))
    return result


def _samples(
    task: Task, model: Transformer, records: Sequence[Record], said: Sequence[Prediction]
) -> list[dict[str, str]]:
    """A few texts of the model's own beside what was asked for, where it writes any."""
    few = zip(records, task.samples(model, records[:SAMPLES], said), strict=False)
    return [{"input": record.inputs[0], "gold": record.gold, "answer": one.answer} for record, one in few]


def _multiplied(model: Transformer, task: Task) -> int:
    """How many weights a place is multiplied with: the blocks, the head, and the vocabulary where the task writes."""
    products = ((name, part) for name, part in model.named_modules() if isinstance(part, torch.nn.Linear))
    return sum(part.weight.numel() for name, part in products if task.writes or not name.startswith("head."))


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


def _unknown_share(tokenizer: Tokenizer, records: Sequence[Record]) -> float:
    """Part of the judged texts' tokens that the tokenizer does not know: high for a language it has never seen."""
    return tokenizer.unknown_share(" ".join(record.inputs) for record in records[:500])


def _describe(out: Path, experiment: FineTuning, result: FineTuneResult, because: Sequence[str]) -> None:
    hashes = _hashes(experiment)
    data = {name: {"file": ", ".join(found), "sha256": hashes[name]} for name, found in experiment.data.files.items()}
    facts = {"steps": result.steps, "seconds": result.seconds, "num_parameters": result.num_parameters,
             "trained_parameters": result.trained_parameters, "flops": result.flops}  # fmt: skip
    write_facts(out, {"experiment": to_json(experiment), "data": data, "account": result.account, "result": facts,
                      "judgement": result.judgement, "portable": not because, "because": list(because)})  # fmt: skip


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
        tokenizer = learn_tokenizer(texts, tokens, choice)
        tokenizer.save_pretrained(out / "tokenizer")
    preset, dials, shape = choose_model(choice, tokenizer.vocab_size, pad=tokenizer.special.pad)
    return Transformer(shape, preset=preset, dials=dials), tokenizer


def _texts_in(value: Any) -> list[str]:
    """The texts in a value: of a list of words together, of messages each."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [" ".join(value)]
    if isinstance(value, list | dict):
        return [text for one in (value.values() if isinstance(value, dict) else value) for text in _texts_in(one)]
    return [value] if isinstance(value, str) else []


def _prepare(experiment: FineTuning, task: Task, model: Transformer) -> tuple[str, ...] | None:
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
    model.generation = task.generation(model.generation)
    left = put_on(model, task, experiment.model.start)
    require_expressible(experiment, model)
    return left


def _trainer(experiment: FineTuning, task: Task, model: Transformer, splits: Splits) -> Trainer:
    task.frame.take_cut()
    examples = task.examples(splits.train)
    training = _length(experiment, len(examples))
    loader = ExampleLoader(examples, batch_size=training.batch_size, pad=task.frame.pad, seed=training.seed)
    return Trainer(model, task, loader, training)


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


def _evaluate(best: Best, task: Task, chosen: Sequence[Record], batches: Sequence[Batch]) -> Evaluation:
    """Loss on records of the dev set, and the metric that chooses."""
    model = best.trainer.model
    assert isinstance(model, Transformer)
    with best.trainer.weights.computing():
        found = evaluate_loss(model, task, batches)
        if best.choice.name == "loss":
            return replace(found, metric=found.loss)
        measured = task.measure(chosen, task.predict(model, chosen))
    return replace(found, metric=measured[best.choice.name].score)
