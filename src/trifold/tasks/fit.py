"""What suits labelled examples, a start and a length of time, wherever nobody has said it.

How long. A model that was trained before, or that learns what a linear one leaves over, needs few readings; a translator
from random weights needs many, the more the fewer its pairs. How large, where it starts from random weights: as in
pre-training (`trifold.training.fit`), the largest shape that reads enough tokens a parameter in the time there is, and has
not too many parameters for the different tokens. How regular: dropout by how much there is to learn by heart with.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trifold.config import from_json, to_json
from trifold.data.reading import SourceOptions
from trifold.data.rows import Row, read_rows
from trifold.locale import message
from trifold.task_kinds import config_class
from trifold.tasks.experiment import TRAINING, FineTuning, LabelledData
from trifold.tasks.record import Role, place_rows, value_of
from trifold.training import AdamW, ModelChoice, Muon, Schedule, Training
from trifold.training.experiment import Experiment
from trifold.training.fit import Fitted, Trial, largest_that_suits, looked_up
from trifold.training.plan import count_parameters
from trifold.training.prepare import shape_of, usual_objective
from trifold.training.timing import places_of, time_step

__all__ = ["Pairs", "count_pairs", "fit_tuning", "with_training"]

Sections = Mapping[str, Any]
SHAPES = ((2, 128, 4, 512), (3, 192, 4, 512), (4, 256, 4, 1024), (6, 384, 6, 1536), (6, 512, 8, 2048))
"""Layers a side, width, heads and inner width of the translators that are tried, from the smallest."""
READ = 3.0
"""Tokens that a parameter must read at least."""
VOCABULARIES = ((0.3e6, 1000), (2e6, 3000), (20e6, 6000), (200e6, 12000), (math.inf, 24000))
"""Tokens of the vocabulary for so many bytes of both sides, or fewer."""
BYTES = 4.0
"""Of a token of such a vocabulary."""
BATCHES = ((2000, 32), (8000, 64), (math.inf, 128))
"""Pairs in a batch, for so many pairs or fewer."""
SEEN, FEWEST, MOST = 350_000, 3.0, 40.0
"""Pairs that a translator reads where no length is given, within so many readings."""
DROPOUTS = ((4.0, 0.05), (60.0, 0.15), (150.0, 0.25), (math.inf, 0.35))
"""For so many readings of the pairs, times the root of the parameters for each different token, or fewer. Beside label
smoothing less is needed than in pre-training, and in few readings more costs much."""
PATIENCE = 6
"""Looks at dev pairs in a row without a better one, of the 25 that a run has at most, after which it stops."""
TRANSLATING = replace(
    TRAINING,
    optimizer=Muon(lr=5e-3, weight_decay=0.1, adamw=AdamW(lr=3e-3, weight_decay=0.0)),
    schedule=Schedule(kind="linear", warmup=0.05),
    evaluate_rows=1000,
)
LENGTHS = {"steps", "tokens", "minutes"}
DIALS = ("num_layers", "d_model", "num_heads", "d_ff")


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many examples there are to train on, and bytes of UTF-8 in them."""

    count: int
    num_bytes: int

    @property
    def readings(self) -> float:
        """How often a translator from random weights reads them where no length is given."""
        return round(min(max(SEEN / self.count, FEWEST), MOST), 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ShapeTrial(Trial):
    """A shape, by the options that make it."""

    overrides: Mapping[str, Any]


UNKNOWN = Pairs(count=30_000, num_bytes=4_000_000)
"""What is taken for pairs that can be read only once."""


def count_pairs(rows: Iterable[Row], roles: Sequence[Role], columns: Mapping[str, str]) -> Pairs:
    """Count rows and the bytes of what a task reads of them.

    Args:
        rows: of files, or as a program gives them.
        roles: of the task.
        columns: of each role, where the user says.

    Raises:
        DataError: a column is missing, or it is not clear which is meant.

    Example:
        >>> roles = [Role("source", ("source",)), Role("target", ("target",))]
        >>> count_pairs([Row({"source": "a dog", "target": "ein Hund", "id": "x7"}, "")], roles, {})
        Pairs(count=1, num_bytes=13)
    """
    placed = place_rows(list(rows), roles, columns)
    values = (value_of(row, column) for row, columns_of in placed for column in columns_of.values())
    num_bytes = sum(len(value.encode("utf-8", "surrogatepass")) for value in values if isinstance(value, str))
    return Pairs(max(len(placed), 1), max(num_bytes, 1))


def fit_tuning(sections: Sections, pairs: Pairs | None = None, *, measure: bool = True) -> Fitted[FineTuning]:
    """Choose what the sections of an experiment leave open; what they say is kept, and the rest follows it.

    Args:
        sections: of an experiment, as JSON has them.
        pairs: how much there is to train on; None to look at the files of the section `data`.
        measure: time steps; False takes a length in minutes to be as long as the examples ask for.

    Raises:
        ConfigError: a value is not possible.
        DataError: a file is missing or damaged.
    """
    kind = sections.get("task", {}).get("kind", "classification")
    if sections["model"].get("start") is not None or not config_class(kind).from_scratch:
        patience = {} if _steps_said(sections) else {"patience": None}
        return Fitted(from_json(FineTuning, patience | with_training(sections), where="experiment"), ())
    if pairs is None:
        data = from_json(LabelledData, sections.get("data", {}), where="data")
        options = SourceOptions(on_error=data.on_error, encoding=data.encoding)
        once = "-" in data.files["train"]  # standard input can be read only once
        rows = () if once else (row for file in data.files["train"] for row in read_rows(file, options))
        pairs = UNKNOWN if once else count_pairs(rows, config_class(kind).roles, data.columns)
    settled = _by_pairs(sections, pairs)
    best = largest_that_suits(_trials(settled, pairs, measure=measure))
    experiment = _by_trial(settled, best)
    return Fitted(experiment, tuple(_lines(experiment, best, pairs)))


def _steps_said(sections: Sections) -> bool:
    """Whether somebody said how long, other than in minutes: then so long it is."""
    training = sections.get("training", {})
    return any(value is not None for value in (sections.get("epochs"), training.get("steps"), training.get("tokens")))


def with_training(sections: Sections, usual: Training = TRAINING) -> dict[str, Any]:
    """Sections of an experiment with a training in which what they do not say is as usual.

    Example:
        >>> with_training({"training": {"minutes": 5.0}})["training"]["steps"] is None
        True
    """
    said = {name: value for name, value in sections.get("training", {}).items() if value is not None}
    optimizer, other = said.get("optimizer", {}), usual.optimizer.kind
    kept = to_json(usual.optimizer) if optimizer.get("kind", other) == other else {}
    lengths = dict.fromkeys(LENGTHS) if said.keys() & LENGTHS else {}
    return {**sections, "training": {**to_json(usual), **lengths, **said, "optimizer": {**kept, **optimizer}}}


def _by_pairs(sections: Sections, pairs: Pairs) -> dict[str, Any]:
    """What follows from how many pairs there are."""
    usual = replace(TRANSLATING, batch_size=looked_up(BATCHES, pairs.count))
    vocabulary = {"vocab_size": looked_up(VOCABULARIES, pairs.num_bytes)}
    tokenizer, said = sections.get("tokenizer", {}), sections.get("training", {})
    timed = sections.get("epochs") is not None or any(said.get(name) is not None for name in LENGTHS)
    return {
        "patience": 0 if _steps_said(sections) else PATIENCE,
        **with_training(sections, usual),
        "tokenizer": ({} if "path" in tokenizer else vocabulary) | tokenizer,
        "epochs": sections.get("epochs") if timed else pairs.readings,
    }


def _trials(settled: Sections, pairs: Pairs, *, measure: bool) -> Iterator[_ShapeTrial]:
    """The shapes that are open, from the smallest to the first that is too large."""
    model = settled["model"]
    own = model.get("overrides", {})
    shapes = [dict(zip(DIALS, shape, strict=True)) for shape in SHAPES]
    for shape in [{}] if "size" in model or own.keys() & set(DIALS) else shapes:
        trial = _try({**settled, "model": {**model, "overrides": shape | own}}, pairs, measure=measure)
        yield trial
        if not trial.suits:
            return


def _try(settled: Sections, pairs: Pairs, *, measure: bool) -> _ShapeTrial:
    """What would come of a shape."""
    training, model = settled["training"], settled["model"]
    rows, tokens = training["batch_size"] * training["accumulation"], pairs.num_bytes / BYTES
    objective = usual_objective(from_json(ModelChoice, model, where="model"), paired=True)
    length = max(math.ceil(tokens / pairs.count / (2 if objective.kind == "sequence_to_sequence" else 1)), 8)
    places = training | {"steps": 1, "tokens": None, "minutes": None, "length": length, "target_length": length}
    like = from_json(
        Experiment,
        {"model": model, "tokenizer": settled["tokenizer"], "objective": to_json(objective), "training": places},
        where="experiment",
    )
    shape = shape_of(like)
    count = count_parameters(shape)
    if settled["epochs"] is not None:
        steps = settled["epochs"] * pairs.count / rows
    elif training["minutes"] is None:
        steps = training["steps"] or training["tokens"] * 2 / (rows * tokens / pairs.count)
    elif measure:
        steps = 60 * training["minutes"] / time_step(like, shape, places_of(like, shape)).free
    else:
        steps = pairs.readings * pairs.count / rows
    steps = max(round(steps), 1)
    return _ShapeTrial(
        overrides=model["overrides"],
        parameters=count.encoder + count.decoder,
        steps=steps,
        tokens=steps * rows * tokens / pairs.count,
        different=tokens,
        least=READ,
    )


def _by_trial(settled: Mapping[str, Any], trial: _ShapeTrial) -> FineTuning:
    """What follows from the shape, and from how often it reads the pairs."""
    dropout = looked_up(DROPOUTS, trial.wear)
    model = {**settled["model"], "overrides": {"dropout": dropout, **trial.overrides}}
    return from_json(FineTuning, {**settled, "model": model}, where="experiment")


def _lines(experiment: FineTuning, trial: _ShapeTrial, pairs: Pairs) -> Iterator[str]:
    """The choice in words."""
    model, tokenizer, training = experiment.model, experiment.tokenizer, experiment.training
    facts = {"count": f"{pairs.count:,}", "steps": f"{trial.steps:,}", "epochs": f"{trial.epochs:,.1f}"}
    yield message("task.fit_unknown" if pairs is UNKNOWN else "task.fit_pairs", **facts)
    shape = shape_of(Experiment(model=model, tokenizer=tokenizer, training=training))
    yield message(
        "task.fit_model",
        preset=model.preset,
        layers=len(shape.main.blocks),
        width=shape.d_model,
        parameters=f"{trial.parameters / 1e6:,.1f}",
        dropout=model.overrides["dropout"],
    )
    if tokenizer.path is None:
        yield message("training.fit_tokenizer", kind=tokenizer.kind, vocab_size=f"{tokenizer.vocab_size:,}")
    yield message("task.fit_batches", count=training.batch_size)
