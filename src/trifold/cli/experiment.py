"""From the options of a command to an experiment."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trifold.cli.needs import missing_files, missing_folder, missing_options
from trifold.cli.option import READING, Option, Request
from trifold.cli.tuned import reading_of
from trifold.errors import TrifoldError, UsageError
from trifold.families import FAMILIES

__all__ = [
    "DATA_OPTIONS",
    "EXPERIMENT_OPTIONS",
    "PRESETS",
    "RESUME_OPTIONS",
    "SECTIONS",
    "SIZES",
    "build_experiment",
    "experiment_in",
    "missing_of_experiment",
    "overrides_of",
    "place_options",
    "source_options",
]

SECTIONS = ("model", "tokenizer", "data", "objective", "training")
PRESETS = tuple(FAMILIES)
SIZES = ("tiny", "mini", "small", "medium", "base", "large")
OBJECTIVES = ("causal", "masked", "denoising", "infilling", "sequence_to_sequence", "prefix")
KINDS = ("byte_bpe", "bpe", "wordpiece", "unigram", "character")

DATA_OPTIONS = (
    Option(name="text-field", group="data"),
    Option(name="source-field", group="data"),
    Option(name="target-field", group="data"),
    Option(name="document", choices=("file", "paragraph", "line"), group="data"),
    *READING,
)
EXPERIMENT_OPTIONS = (
    Option(name="data", many=True),
    Option(name="preset", choices=PRESETS),
    Option(name="size", choices=SIZES),
    Option(name="overrides", many=True),
    Option(name="from", help="option_from"),
    Option(name="steps", kind="integer", low=1),
    Option(name="tokens", kind="integer", low=1),
    Option(name="minutes", kind="number", above=0),
    Option(name="objective", choices=OBJECTIVES),
    Option(name="tokenizer"),
    Option(name="kind", choices=KINDS),
    Option(name="vocab-size", kind="integer", low=16),
    Option(name="valid", many=True, group="data"),
    Option(name="weights", kind="number", many=True, above=0, group="data"),
    *DATA_OPTIONS,
    Option(name="length", kind="integer", low=1, group="training"),
    Option(name="batch-size", kind="integer", low=1, group="training"),
    Option(name="optimizer", choices=("muon", "adamw"), group="training"),
    Option(name="lr", kind="number", above=0, group="training"),
    Option(name="seed", kind="integer", low=0, group="training"),
    Option(name="parallel", choices=("ddp", "fsdp"), group="training"),
    Option(name="experiment", kind="file"),
)
RESUME_OPTIONS = (
    Option(name="resume", kind="flag", default=False),
    Option(name="strict", kind="flag", default=False),
    Option(name="allow-change", many=True),
)
PLACES = {
    "preset": "model.preset", "size": "model.size", "from": "model.start",
    "steps": "training.steps", "tokens": "training.tokens", "minutes": "training.minutes",
    "length": "training.length", "batch_size": "training.batch_size", "seed": "training.seed",
    "parallel": "training.parallel",
    "tokenizer": "tokenizer.path", "kind": "tokenizer.kind", "vocab_size": "tokenizer.vocab_size",
    "data": "data.paths", "valid": "data.valid", "weights": "data.weights", "text_field": "data.text_field",
    "source_field": "data.source_field", "target_field": "data.target_field", "document": "data.document",
    "on_error": "data.on_error", "encoding": "data.encoding",
}  # fmt: skip
LENGTHS = {"steps", "tokens", "minutes"}


def build_experiment(request: Request, before: Any = None, *, measure: bool = True) -> Any:
    """The experiment that the options, the configuration file and the overrides ask for.

    What they leave open follows from the text, the time and the machine, and is said; but not beside the experiment of a
    file, and not in a run that goes on.

    Args:
        request: what the user asked.
        before: the experiment of a run that goes on, whose values hold where nothing else is said.
        measure: time steps, to see how many there is time for.

    Raises:
        ConfigError, UsageError: something is missing, given twice, or out of range.
        DataError: there is no text.
    """
    from trifold.config import from_json, override, to_json
    from trifold.training import Experiment
    from trifold.training.fit import fit

    path = request.values.experiment
    begun = experiment_in(Path(path), Experiment) if path is not None else before
    said = _with_options(request, {} if begun is None else to_json(begun))
    whole = from_json(Experiment, _whole(said, request), where="experiment")
    changed = override(whole, request.overrides, where="experiment")
    if begun is not None:
        return changed
    together = getattr(request.values, "processes", 1) > 1
    fitted = fit(with_overrides(said, request, to_json(changed)), measure=measure and not together)
    for line in () if request.console.follows else fitted.notes:
        request.console.note(line)
    return fitted.experiment


def missing_of_experiment(request: Request, command: str) -> Iterator[TrifoldError]:
    """What an experiment lacks, and which of its files are not where they are said to be."""
    values = request.values
    begun = values.experiment or getattr(values, "resume", False) or getattr(values, "run", None)
    if not begun and not request.sections.get("data", {}).get("paths") and "data.paths" not in request.overrides:
        yield from missing_options(request, command, ["--data"])
    yield from missing_files([*(values.data or ()), *(values.valid or ())])
    yield from missing_folder(getattr(values, "from"))


def _whole(said: dict[str, Any], request: Request) -> dict[str, Any]:
    """What is said, with what an experiment must have: enough to see whether it is right."""
    from trifold.training.fit import FAMILY

    model, training = said.get("model", {}), said.get("training", {})
    if not model.keys() & {"preset", "start"}:
        model = {"preset": FAMILY, **model}
    lengths = {name for name in LENGTHS if training.get(name) is not None or f"training.{name}" in request.overrides}
    return {**said, "model": model, "training": training if lengths else {**training, "minutes": 1.0}}


def with_overrides(said: dict[str, Any], request: Request, whole: dict[str, Any]) -> dict[str, Any]:
    """What is said, with the overrides among it, whose values `whole` has."""
    merged = {name: dict(section) if isinstance(section, dict) else section for name, section in said.items()}
    for place in request.overrides:
        section, _, rest = place.partition(".")
        field = rest.partition(".")[0]
        if field and section != "objective":
            merged.setdefault(section, {})[field] = whole[section][field]
        else:
            merged[section] = whole[section]
    return merged


def experiment_in(path: Path, kind: type) -> Any:
    """Run a Python file and call its `experiment()`.

    Raises:
        UsageError: there is no such file, or it gives something else.
    """
    import runpy

    if not path.is_file():
        raise UsageError("cli.no_experiment", path=path)
    make = runpy.run_path(str(path)).get("experiment")
    experiment = make() if callable(make) else None
    if not isinstance(experiment, kind):
        raise UsageError("cli.no_experiment", path=path)
    return experiment


def _with_options(request: Request, before: dict[str, Any]) -> dict[str, Any]:
    """What an experiment file says, if there is one, with what the configuration file and the options say instead."""
    values, options = request.values, request.given
    replaced = _replaced(options, before)
    data = {
        name: {**({} if name in replaced else before.get(name, {})), **request.sections.get(name, {})}
        for name in SECTIONS
    }
    if LENGTHS & options:
        data["training"] |= dict.fromkeys(LENGTHS)
    place_options(request, PLACES, data)
    if values.overrides:
        data["model"]["overrides"] = {**data["model"].get("overrides", {}), **overrides_of(values.overrides)}
    _set_optimizer(request, data["training"])
    if values.objective is not None and data["objective"].get("kind") != values.objective:
        data["objective"] = {"kind": values.objective}
    kept = {name: value for name, value in before.items() if name not in SECTIONS}
    return kept | {name: section for name, section in data.items() if section}


def place_options(request: Request, places: Mapping[str, str], data: dict[str, Any]) -> None:
    """Put each option that was given into its section of the experiment's JSON; `places` says `section.name` for each."""
    for option, place in places.items():
        if option in request.given:
            section, name = place.split(".")
            data[section] = {**(data.get(section) or {}), name: getattr(request.values, option)}


def _replaced(options: frozenset[str], before: dict[str, Any]) -> set[str]:
    """The sections that another model replaces: a run comes with its tokenizer, a family takes the place of a start."""
    if "from" in options:
        return {"tokenizer"} if before.get("model", {}).get("start") else {"model", "tokenizer"}
    return {"model"} if "preset" in options and before.get("model", {}).get("start") else set()


def overrides_of(words: list[str]) -> dict[str, Any]:
    """Options from words such as `num_layers=4`.

    Raises:
        UsageError: a word is of another form.
    """
    return dict(map(_override, words))


def _override(word: str) -> tuple[str, Any]:
    import json

    name, sign, value = word.partition("=")
    if not sign:
        raise UsageError("cli.bad_override", given=word)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _set_optimizer(request: Request, training: dict[str, Any]) -> None:
    kind, rate = request.values.optimizer, request.values.lr
    if kind is None and rate is None:
        return
    chosen = dict(training.get("optimizer", {"kind": "muon"}))
    if kind is not None and chosen.get("kind") != kind:
        chosen = {"kind": kind}
    if rate is not None:
        chosen["lr"] = rate
    training["optimizer"] = chosen


def source_options(request: Request) -> Any:
    """How to read the data of a command that only reads."""
    from trifold.data import SourceOptions

    values = request.values
    pair = (values.source_field, values.target_field)
    if (pair[0] is None) != (pair[1] is None):
        raise UsageError("cli.half_pair")
    fields = (values.text_field or "text",) if pair[0] is None else pair
    reading = reading_of(request)
    return SourceOptions(
        fields=fields, document=values.document or "file", on_error=reading.on_error, encoding=reading.encoding
    )
