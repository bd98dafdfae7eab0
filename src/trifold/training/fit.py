"""What suits a text, a length of time and a machine, wherever nobody has said it.

How large. A model that reads few tokens for each of its parameters is not done learning when the time is over; one that has
many parameters for each different token learns the text by heart. So the largest size is taken that reads at least
`READ` tokens a parameter in the time there is, and has at most `DIFFERENT` parameters a different token; the smallest one
where none does. The time of a step is measured. Text that is read often calls for dropout.
"""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trifold.config import Config, from_json, to_json
from trifold.data import read
from trifold.locale import message
from trifold.model.config import Learned, RelativeBias, Transformer
from trifold.presets import find_preset
from trifold.training.experiment import DataChoice, Experiment, ModelChoice
from trifold.training.plan import available_memory, count_parameters, estimate_memory, training_flops
from trifold.training.prepare import shape_of, source_options, usual_objective
from trifold.training.timing import count_steps, places_of, time_step

__all__ = [
    "Advice",
    "Fitted",
    "Text",
    "Trial",
    "advise",
    "bytes_per_token",
    "fit",
    "largest_that_suits",
    "looked_up",
    "survey",
]

Sections = Mapping[str, Any]
E = TypeVar("E", bound=Config)
V = TypeVar("V")
SURVEYED = 2**26
"""Characters that are read to see how much text there is; more of it needs no other setting."""
UNKNOWN = 10**7
"""Bytes that a text is taken to have which can be read only once."""
FAMILY, MINUTES = "llama", 5.0
READ, DIFFERENT = 5.0, 6.0
NOMINAL = 2e11
"""Operations a second of a process, where several must come to the same choice without measuring."""
VOCABULARIES = ((0.3e6, 1024), (3e6, 2048), (40e6, 4096), (400e6, 8192), (math.inf, 16384))
"""Tokens of the vocabulary for so many bytes of text, or fewer."""
DROPOUTS = ((2.0, 0.0), (8.0, 0.1), (30.0, 0.2), (100.0, 0.3), (math.inf, 0.4))
"""For so many readings of the text, times the root of the parameters for each different token, or fewer."""
HIDDEN = 0.2
"""What it is worth in dropout that other tokens are hidden at each reading."""
LEARNED = 0.5
"""The part of a dropout that suits a decoder with learned positions, which are dropped with the tokens (decision 0031)."""
EPOCHS = 60.0
"""After so many readings nothing is gained."""
BY_HEART, THRICE = 8.0, 0.2
"""Readings from which on a text is learned by heart without dropout, whatever the size of text and model; and the dropout
with which they are three times as many (measured, see decision 0027)."""
HELD_OUT = 50_000
"""Bytes that are enough to judge by, where they are between 2 and 10 % of the text."""
EVALUATIONS, SHARE, PATIENCE = 25, 0.04, 8
"""How often held-out text is looked at, the part of the time that this may take, and how often in vain."""


@dataclass(frozen=True, slots=True)
class Text:
    """How much text there is: bytes of UTF-8; more than those where not the whole of it was read."""

    num_bytes: int
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Fitted(Generic[E]):
    """An experiment in which nothing is left open, and why it is as it is, in lines for a person."""

    experiment: E
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One size of a model, and what would come of it.

    Attributes:
        parameters: beside those of the vocabulary.
        steps: that there is time for.
        tokens: of the text that they read.
        different: of these; as many as there may be, where it is not known.
        least: tokens that each parameter must read.

    Example:
        >>> Trial(parameters=10**6, steps=100, tokens=6e6, different=2e6).suits
        True
    """

    parameters: int
    steps: int
    tokens: float
    different: float
    least: float = READ

    @property
    def epochs(self) -> float:
        """How often the text is read."""
        return self.tokens / self.different

    @property
    def wear(self) -> float:
        """How much is there to learn by heart with: readings, and room for them."""
        return self.epochs * math.sqrt(self.parameters / self.different)

    @property
    def suits(self) -> bool:
        """Whether it reads enough, and has not too many parameters for the text."""
        return self.tokens >= self.least * self.parameters and self.parameters <= DIFFERENT * self.different


T = TypeVar("T", bound=Trial)


@dataclass(frozen=True, kw_only=True, slots=True)
class _SizeTrial(Trial):
    """A size of a family, by its name, and whether its positions are learned vectors."""

    size: str
    learned: bool


def largest_that_suits(trials: Iterable[T]) -> T:
    """The last of trials in rising order that suits; the first where none does."""
    tried = list(trials)
    return next((trial for trial in reversed(tried) if trial.suits), tried[0])


def looked_up(table: Sequence[tuple[float, V]], amount: float) -> V:
    """What a table of rising bounds says for an amount: the value beside the first bound that is not below it.

    Example:
        >>> looked_up(((3.0, "few"), (math.inf, "many")), 3.0)
        'few'
    """
    return next(value for most, value in table if amount <= most)


def survey(data: DataChoice) -> Text:
    """How much text there is.

    Raises:
        DataError: a file is missing, or a record is damaged.
    """
    if "-" in data.paths:  # can be read only once
        return Text(UNKNOWN, whole=False)
    characters = num_bytes = 0
    for example in read(data.paths, source_options(data)):
        characters += sum(map(len, example.texts))
        num_bytes += sum(len(text.encode("utf-8", "surrogatepass")) for text in example.texts)
        if characters > SURVEYED:
            return Text(num_bytes, whole=False)
    return Text(max(num_bytes, 1))


def bytes_per_token(vocab_size: int) -> float:
    """Of byte-level BPE, English and Chinese alike (measured: 2.5, 3.0, 3.5, 3.9 from 1,024 tokens to 8,192).

    Example:
        >>> bytes_per_token(2048)
        3.0
    """
    return max(0.5 * math.log2(vocab_size) - 2.5, 1.0)


def fit(sections: Sections, text: Text | None = None, *, measure: bool = True) -> Fitted[Experiment]:
    """Choose what the sections of an experiment leave open; what they say is kept, and the rest follows it.

    Args:
        sections: of an experiment, as JSON has them.
        text: how much there is; None to look at the paths of the section `data`.
        measure: time steps; False takes a speed that is the same everywhere, as one of several processes does.

    Raises:
        ConfigError: a value is not possible.
        DataError: there is no text.
    """
    measure = measure and "RANK" not in os.environ
    text = text or survey(from_json(DataChoice, sections.get("data", {}), where="data"))
    settled = _by_text(sections, text)
    best = largest_that_suits(_trials(settled, text, speed=None if measure else NOMINAL))
    experiment = _by_trial(settled, best)
    return Fitted(experiment, tuple(_lines(experiment, best, text)))


@dataclass(frozen=True, slots=True)
class Advice:
    """What is to be expected of a run, by the rules that choose for one.

    Attributes:
        epochs: how often the text is read; None where its size is not known.
        best_step: the step from which on the text is learned by heart; the last one where that does not come.
        size: the size that suits text and length; None where it is the run's own, or none is open.
        parameters: of that size, beside those of the vocabulary, for each of the run's own.
    """

    epochs: float | None
    best_step: int
    size: str | None = None
    parameters: float = 1.0


def advise(experiment: Experiment, shape: Transformer, text: Text, speed: float | None) -> Advice:
    """What is to be expected of an experiment whose length is known.

    Args:
        experiment: all of it.
        shape: of its model.
        text: how much there is to train on.
        speed: operations a second; None where nothing was measured.

    Raises:
        ConfigError: the experiment is not possible.
    """
    speed = speed or NOMINAL
    trial = _try(experiment, shape, text, speed=speed)
    block, hides = shape.main.blocks[0], experiment.objective.kind != "causal"
    halved = trial.learned and not hides and not block.attention.dropout
    dropout = block.feed_forward.residual.dropout
    rate = dropout / LEARNED if halved else dropout + (HIDDEN if hides else 0.0)
    readings = min(BY_HEART * 3.0 ** (rate / THRICE), EPOCHS)
    best = trial.steps if trial.epochs <= readings else math.ceil(trial.steps * readings / trial.epochs)
    epochs = trial.epochs if text.whole else None
    if experiment.model.start is not None:
        return Advice(epochs, best)
    sections = to_json(experiment)
    model = {name: value for name, value in sections["model"].items() if name not in ("size", "start")}
    chosen = largest_that_suits(_trials({**sections, "model": model}, text, speed=speed))
    other = None if chosen.parameters == trial.parameters else chosen.size
    return Advice(epochs, best, other, chosen.parameters / trial.parameters)


def _by_text(sections: Sections, text: Text) -> Sections:
    """What follows from the amount of text, and what suits any."""
    said = {name: sections.get(name, {}) for name in ("model", "tokenizer", "data", "training")}
    model = said["model"] if "start" in said["model"] else {"preset": FAMILY, **said["model"]}
    objective = sections.get("objective") or _objective(model, said["data"])
    length = said["training"].get("length", 256 if objective["kind"] == "causal" else 128)
    training = {
        "length": length,
        "batch_size": max(4096 // length, 1),
        "schedule": {"kind": "linear"},
        **({} if any(map(said["training"].get, ("steps", "tokens", "minutes"))) else {"minutes": MINUTES}),
    }
    held_out = {"valid_fraction": round(min(max(HELD_OUT / text.num_bytes, 0.02), 0.1), 3)} if text.whole else {}
    vocabulary = {"vocab_size": looked_up(VOCABULARIES, text.num_bytes)}
    known = {name: value for name, value in said["training"].items() if value is not None}
    return {
        **sections,
        "model": model,
        "tokenizer": ({} if "start" in model or "path" in said["tokenizer"] else vocabulary) | said["tokenizer"],
        "data": ({} if "valid" in said["data"] else held_out) | said["data"],
        "objective": objective,
        "training": training | known,
    }


def _objective(model: Mapping[str, Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    choice = from_json(ModelChoice, model, where="model")
    objective: Mapping[str, Any] = to_json(usual_objective(choice, paired=data.get("source_field") is not None))
    return objective


def _trials(settled: Sections, text: Text, *, speed: float | None) -> Iterator[_SizeTrial]:
    """The sizes that are open, from the smallest to the first that is too large.

    `speed` is in operations a second; None to time the steps of each size.
    """
    model = settled["model"]
    sizes = [model.get("size", "tiny")] if model.keys() & {"start", "size"} else find_preset(model["preset"]).sizes
    for number, size in enumerate(sizes):
        named = model if "start" in model else {**model, "size": size}
        experiment = from_json(Experiment, {**settled, "model": named}, where="experiment")
        shape = shape_of(experiment)
        places = places_of(experiment, shape)
        need = estimate_memory(shape, places, optimizer=experiment.training.optimizer.kind)
        if number and need.total > available_memory():
            return
        trial = _try(experiment, shape, text, speed=speed)
        yield trial
        if not trial.suits:
            return


def _try(experiment: Experiment, shape: Transformer, text: Text, *, speed: float | None) -> _SizeTrial:
    """What would come of an experiment."""
    training, count, places = experiment.training, count_parameters(shape), places_of(experiment, shape)
    rows = training.batch_size * training.accumulation
    seconds = None
    if training.minutes is not None:
        operations = training_flops(shape, places) * rows
        seconds = time_step(experiment, shape, places).free if speed is None else operations / speed
    steps = max(count_steps(training, places, seconds) or 1, 1)
    tokens = steps * rows * float(places.source or places.target)
    different = text.num_bytes / bytes_per_token(shape.vocab_size) if text.whole else math.inf
    size, parameters = experiment.model.size, count.encoder + count.decoder
    learned = isinstance(shape.embedding.position, Learned)
    return _SizeTrial(
        size=size, learned=learned, parameters=parameters, steps=steps, tokens=tokens, different=different
    )


def _by_trial(settled: Sections, trial: _SizeTrial) -> Experiment:
    """What follows from the size, and from how often it reads the text."""
    model, training = settled["model"], dict(settled["training"])
    steps, said = trial.steps, model.get("overrides", {})
    overrides = said if "dropout" in said else _dropouts(trial, hides=settled["objective"]["kind"] != "causal") | said
    timed = training.get("minutes") is not None
    if timed and trial.epochs > EPOCHS:
        steps = math.ceil(steps * EPOCHS / trial.epochs)
        training |= {"minutes": None, "steps": steps}
    every = max(steps // EVALUATIONS, 10)
    rows = max(int(3 * SHARE * steps * training["batch_size"] / EVALUATIONS), training["batch_size"])
    chosen = {
        "patience": PATIENCE if timed else 0,  # as many steps as were asked for
        **settled,
        "model": {"size": trial.size, **model, "overrides": overrides},
        "training": {"evaluate_every": every, "evaluate_rows": rows, "checkpoint_every": 5 * every, **training},
    }
    experiment = from_json(Experiment, chosen, where="experiment")
    return experiment if "start" in model else _by_family(chosen, shape_of(experiment))


def _dropouts(trial: _SizeTrial, *, hides: bool) -> dict[str, float]:
    """What suits the readings: less where tokens are hidden too, and half for a decoder with learned positions."""
    rate = looked_up(DROPOUTS, trial.wear)
    if hides:
        return {"dropout": round(max(rate - HIDDEN, 0.0), 1)}
    return {"dropout": rate * LEARNED, "attention_dropout": 0.0} if trial.learned else {"dropout": rate}


def _by_family(chosen: Sections, shape: Transformer) -> Experiment:
    """What follows from the kind of positions that a family has (measured, see the log of 2026-11-30)."""
    model, training = chosen["model"], chosen["training"]
    learned = isinstance(shape.embedding.position, Learned)
    relative = isinstance(shape.main.blocks[0].attention.position, RelativeBias)
    model = {"embedding": "cooccurrence", "attention": "neighbours" if learned or relative else "random", **model}
    if learned:
        model["overrides"] = {"max_length": training["length"], **model["overrides"]}  # no place is left untrained
    matrices, vectors = (3e-3, 3e-2) if relative else (1e-2, 1e-2)
    narrow = 128 / shape.d_model
    matrices, vectors = float(f"{matrices * narrow**0.5:.2g}"), float(f"{vectors * narrow:.2g}")
    optimizer = {"kind": "muon", "lr": matrices, "adamw": {"kind": "adamw", "lr": vectors, "weight_decay": 0.0}}
    said = training.get("optimizer", {})
    training = {**training, "optimizer": (optimizer if said.get("kind", "muon") == "muon" else {}) | said}
    return from_json(Experiment, {**chosen, "model": model, "training": training}, where="experiment")


def _lines(experiment: Experiment, trial: _SizeTrial, text: Text) -> Iterator[str]:
    """The choice in words."""
    training, model, tokenizer = experiment.training, experiment.model, experiment.tokenizer
    size = f"{text.num_bytes / 1e6:,.2f}"
    if text.whole:
        yield message("training.fit_text", size=size, epochs=f"{trial.epochs:,.1f}", steps=f"{trial.steps:,}")
    else:
        yield message("training.fit_long_text", size=size, steps=f"{trial.steps:,}")
    if training.steps is not None and training.steps < trial.steps:
        yield message("training.fit_shorter", steps=f"{training.steps:,}", epochs=f"{EPOCHS:.0f}")
    if model.start is None:
        millions = f"{trial.parameters / 1e6:,.1f}"
        dropout, own = model.overrides["dropout"], model.overrides.get("attention_dropout")
        dropout = dropout if own is None else f"{dropout}, attention_dropout {own}"
        yield message("training.fit_model", preset=model.preset, size=model.size, parameters=millions, dropout=dropout)
        if tokenizer.path is None:
            yield message("training.fit_tokenizer", kind=tokenizer.kind, vocab_size=f"{tokenizer.vocab_size:,}")
    rows = {"rows": training.batch_size, "length": training.length, "every": training.evaluate_every}
    yield message("training.fit_rows", **rows, held=f"{100 * experiment.data.valid_fraction:.3g}")
