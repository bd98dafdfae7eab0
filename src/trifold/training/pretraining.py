"""Pre-training: from raw text to a trained model in a folder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trifold.config import require, to_json
from trifold.errors import DataError
from trifold.presets.pretrained import Transformer
from trifold.training.best import Choice
from trifold.training.config import Training
from trifold.training.description import read_description, read_experiment
from trifold.training.experiment import Experiment
from trifold.training.fit import Text, fit
from trifold.training.forecast import foresee
from trifold.training.held_out import Evaluation, evaluate_loss
from trifold.training.loop import Evaluate, Listener
from trifold.training.memory import unchanged_random_state
from trifold.training.prepare import Corpora, Prepared, choose_start, prepare, usual_objective
from trifold.training.run import Run, begin, given_path
from trifold.training.trainer import Trainer

__all__ = ["Result", "pretrain"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a run: its folder, its length and the loss on held-out text (None where none was held out).

    `forecast` is what was expected at the run's beginning (`trifold.training.forecast`; None where an earlier version began
    it, and in all processes but the first).
    `best_step` is the step whose weights the model has, `stopped_early` says whether the run ended before its length was
    over, because nothing was gained on held-out text; `unknown_tokens` the part of the text's tokens that the tokenizer
    does not know, `account` says what was read to make the stores and what was left out.
    """

    folder: Path
    steps: int
    best_step: int
    tokens: int
    seconds: float
    num_parameters: int
    valid: Evaluation | None
    unknown_tokens: float
    account: dict[str, Any]
    forecast: dict[str, Any] | None
    stopped_early: bool

    @property
    def tokens_per_second(self) -> float:
        """Target tokens a second, while it trained."""
        return self.tokens / self.seconds if self.seconds else 0.0


def pretrain(  # noqa: PLR0913 - what one may want to say of a run, by name
    experiment: Experiment | str | Path,
    out: str | Path,
    *,
    texts: Iterable[str] | None = None,
    training: Training | None = None,
    minutes: float | None = None,
    resume: bool = False,
    strict: bool = False,
    allow: Sequence[str] = (),
    listen: Listener = lambda _: None,
) -> Result:
    """Pre-train a model on text: run an experiment.

    Args:
        experiment: what to do; or only a family by name (`gpt2`, `bert`, `t5` ...) or a run or folder to go on from.
        out: the run's folder; must not exist, unless `resume`.
        texts: documents to train on, in place of files; they are kept in the run's folder. A part is held out.
        training: how, in place of the experiment's own part. Beside a family or a folder it may be left out: how, and
            how large a model, then follow from the texts, the time and the machine (`trifold.training.fit`).
        minutes: how long, in place of a training; None for 5.
        resume: go on from the newest whole checkpoint in `out`, exactly as if there had been no break; texts that were
            given may be left out.
        strict: refuse a damaged newest checkpoint instead of falling back to the one before.
        allow: what may have changed since the run began, by name (`training.optimizer.lr`, `threads`); written down.
        listen: is told every stage, step and evaluation.

    Raises:
        ConfigError: there is no text or no length, the folder exists, or `resume` with an experiment that is not the one
            that was begun.
        UsageError: another process trains in the folder.
        DataError: the text is empty or damaged.
        CapacityError: the model does not fit in memory.
        PreemptedError: a signal stopped the run, which is saved.
        DistributedError: one of several processes failed, fell silent or was started with other settings.
    """
    texts = texts if texts is None else _checked(texts)
    if not isinstance(experiment, Experiment) and training is None:
        texts = texts if texts is None else list(texts)  # read twice
        experiment, notes = (read_experiment(out), ()) if resume else _fit(str(experiment), texts, minutes)
    else:
        require(minutes is None, where="minutes", given=minutes, allowed="training.minutes, beside a training")
        notes = ()
    with_texts = texts is not None or (resume and given_path(out, "texts").is_file())
    experiment = _chosen(experiment, out, with_texts=with_texts, training=training)
    with begin(experiment, out, experiment.training, resume=resume, strict=strict, allow=allow, listen=listen) as run:
        for line in notes:
            run.tell("account", {"line": line})
        if texts is not None:
            run.keep("texts", ({"text": text} for text in texts))
        prepared = run.group.in_turn(lambda: prepare(experiment, run.folder, run.tell))
        _foresee(run, experiment, prepared)
        trainer = Trainer(prepared.model, prepared.objective, prepared.train, experiment.training, group=run.group)
        hashes, evaluate = prepared.corpora.hashes(), _evaluation(trainer, prepared)
        choice = Choice(patience=experiment.patience) if experiment.training.keep_best else None
        best = run.train(trainer, prepared.tokenizer, data=hashes, evaluate=evaluate, choice=choice)
        return _finish(run, trainer, prepared, best, evaluate(0))


def _foresee(run: Run, experiment: Experiment, prepared: Prepared) -> None:
    """Write down, at the beginning, what the run is expected to take."""
    if run.resume or not run.group.is_first:
        return
    text = Text(max(sum(store.num_bytes for store in prepared.corpora.train), 1))
    with unchanged_random_state():
        expected = foresee(experiment, prepared.model.config, text, measure=run.group.size == 1)
    run.describe({"forecast": expected.as_dict()})


def _chosen(
    chosen: Experiment | str | Path, out: str | Path, *, with_texts: bool, training: Training | None
) -> Experiment:
    """The experiment, with the texts that are given in place of files, and its training."""
    if not isinstance(chosen, Experiment):
        model = choose_start(str(chosen))
        assert training is not None
        chosen = Experiment(model=model, training=training, objective=usual_objective(model))
    elif training is not None:
        chosen = replace(chosen, training=training)
    if with_texts:
        paths = (str(given_path(out, "texts")),)
        require(
            chosen.data.paths in ((), paths), where="texts", given="texts beside data.paths", allowed="one of the two"
        )
        chosen = replace(chosen, data=replace(chosen.data, paths=paths))
    require(bool(chosen.data.paths), where="data.paths", given="nothing", allowed="at least one path, or texts")
    return chosen


def _fit(start: str, texts: list[str] | None, minutes: float | None) -> tuple[Experiment, tuple[str, ...]]:
    """What suits texts and a length of time, and why."""
    require(
        texts is not None, where="texts", given="nothing", allowed="a list of texts, or an Experiment with data.paths"
    )
    assert texts is not None
    choice = choose_start(start)
    model = {"preset": choice.preset} if choice.preset else {"start": choice.start}
    sections = {"model": model, "training": {} if minutes is None else {"minutes": minutes}}
    text = Text(max(sum(len(text.encode("utf-8", "surrogatepass")) for text in texts), 1))
    fitted = fit(sections, text)
    return fitted.experiment, fitted.notes


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """The texts, each of which is one."""
    listed = isinstance(texts, Iterable) and not isinstance(texts, str | bytes | Mapping)
    found = "one text" if isinstance(texts, str) else type(texts).__name__
    require(listed, where="texts", given=found, allowed="a list of texts, or another iterable")
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise DataError(
                "training.given_row", number=number, name="texts", problem=f"{type(text).__name__}, not str"
            )
        yield text


def _evaluation(trainer: Trainer, prepared: Prepared) -> Evaluate:
    """The loss on the text that is held out."""

    def evaluate(max_rows: int) -> Evaluation | None:
        if prepared.valid is None:
            return None
        batches = prepared.valid.epoch(shuffled=max_rows > 0)
        with trainer.weights.computing():
            return evaluate_loss(trainer.model, prepared.objective, batches, max_rows=max_rows, group=trainer.group)

    return evaluate


def _finish(run: Run, trainer: Trainer, prepared: Prepared, best: int, valid: Evaluation | None) -> Result:
    """Save the model, and write down what came out."""
    corpora = prepared.corpora
    count, account = prepared.model.num_parameters(), corpora.report.to_json()
    result = Result(
        run.folder,
        trainer.step,
        best,
        int(trainer.tokens),
        trainer.seconds,
        count,
        valid,
        corpora.unknown_share,
        account,
        read_description(run.folder).get("forecast") if run.group.is_first else None,
        run.stopped_early,
    )
    with trainer.weights.exact_model() as model:
        if run.group.is_first:
            assert isinstance(model, Transformer)
            run.publish(model, prepared.tokenizer)
            run.describe(_facts(run, corpora, result))
    return result


def _facts(run: Run, corpora: Corpora, result: Result) -> dict[str, Any]:
    found = {key: value for key, value in asdict(result).items() if key not in ("folder", "valid", "forecast")}
    valid = None if result.valid is None else asdict(result.valid)
    return {"experiment": to_json(run.experiment), "data": corpora.facts(), "result": {**found, "valid": valid}}
