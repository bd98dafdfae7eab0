"""What a run needs before its first step: tokenizer, token stores, model, objective and loaders."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import torch

from trifold.checkpoint.store import newest
from trifold.config import Config
from trifold.data import Loader, ReadReport, Room, SourceOptions, Split, TokenStore, build_stores, plan_split, read
from trifold.data.rows import fingerprint, require_there
from trifold.errors import ConfigError, DataError
from trifold.locale import message
from trifold.model import config as model_config
from trifold.objective import Objective, build_objective
from trifold.objective.config import PUBLISHED, ObjectiveConfig
from trifold.presets import PRESETS, find_preset
from trifold.presets.preset import Preset
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer, train_tokenizer
from trifold.training.cooccurrence import embed_by_cooccurrence
from trifold.training.experiment import DataChoice, Experiment, ModelChoice, TokenizerChoice
from trifold.training.neighbours import attend_to_neighbours

__all__ = [
    "Corpora",
    "Prepared",
    "Tell",
    "choose_model",
    "choose_start",
    "learn_tokenizer",
    "note_padding",
    "prepare",
    "save_whole",
    "shape_of",
    "source_options",
    "usual_objective",
]

Tell = Callable[[str, Mapping[str, float | int | str]], None]
Plan = Callable[[tuple[str, ...]], Split]
"""What is held out of the text of these paths."""


@dataclass(frozen=True, slots=True)
class Corpora:
    """The token stores of a run; `valid` is None where nothing is held out; `report` tells what was read to make them."""

    train: list[TokenStore]
    valid: TokenStore | None
    report: ReadReport = field(default_factory=ReadReport)

    def _named(self) -> dict[str, TokenStore]:
        stores = {f"train_{number}": store for number, store in enumerate(self.train)}
        return stores | ({} if self.valid is None else {"valid": self.valid})

    @property
    def unknown_share(self) -> float:
        """Part of the tokens, in the store where it is greatest, that the tokenizer does not know."""
        return max(store.unknown_share for store in self._named().values())

    def hashes(self) -> dict[str, object]:
        """Hashes of all that is trained and judged on."""
        return {name: store.digest for name, store in self._named().items()}

    def facts(self) -> dict[str, object]:
        """Sizes and hashes, for the record."""
        return {
            name: {
                "documents": store.num_documents,
                "tokens": store.num_tokens,
                "bytes": store.num_bytes,
                "unknown_tokens": store.unknown_share,
                "sha256": store.digest,
            }
            for name, store in self._named().items()
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a trainer needs."""

    tokenizer: Tokenizer
    corpora: Corpora
    model: Transformer
    objective: Objective
    train: Loader
    valid: Loader | None


def prepare(experiment: Experiment, out: Path, tell: Tell) -> Prepared:
    """Do everything that comes before the first step; what was done before is found again, and checked.

    Raises:
        ConfigError, DataError, ModelFileError: as the parts raise them.
    """
    _check_memory_early(experiment)
    experiment = replace(experiment, data=_keep_input(experiment.data, out))
    split = cache(partial(_split, experiment.data))  # planned once, for the tokenizer and the stores
    tokenizer = _tokenizer(experiment, out, tell, split)
    torch.manual_seed(experiment.training.seed)
    model = _model(experiment, tokenizer, out)
    if experiment.model.start is None:  # whoever made the tokenizer, a new model sees what its family is trained to see
        stacks = {"encoder": model.config.encoder is not None, "decoder": model.config.decoder is not None}
        tokenizer = tokenizer.framed(tokenizer.usual_framing(**stacks), typed=model.config.embedding.num_segments > 1)
    tell("model", {"parameters": model.num_parameters()})
    for line in note_padding(model.config):
        tell("account", {"line": line})
    objective = build_objective(experiment.objective, tokenizer, model.config)
    corpora = build_corpora(experiment.data, tokenizer, out / "data", words=objective.needs_words, split=split)
    for line in corpora.report.lines():
        tell("account", {"line": line})
    sizes = {
        "documents": sum(store.num_documents for store in corpora.train),
        "tokens": sum(store.num_tokens for store in corpora.train),
    }
    tell("data", {**sizes, "held_out_tokens": corpora.valid.num_tokens if corpora.valid else 0})
    tell("unknown_tokens", {"share": corpora.unknown_share})
    begun = (out / "checkpoints").is_dir()  # its weights will take the place of these
    if experiment.model.embedding == "cooccurrence" and not begun:
        tell("embedding", {"tokens": embed_by_cooccurrence(model, corpora.train)})
    if experiment.model.attention == "neighbours" and not begun:
        tell("attention", {"heads": attend_to_neighbours(model)})
    return _load(experiment, tokenizer, corpora, model, objective)


def _keep_input(data: DataChoice, out: Path) -> DataChoice:
    """Standard input can be read once only, and is read twice (and again on resume): keep it in a file of the run."""
    if "-" not in data.paths:
        return data
    place = out / "stdin.txt"
    if not place.exists():
        working = place.with_suffix(".tmp")
        with working.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        working.replace(place)
    return replace(data, paths=tuple(str(place) if path == "-" else path for path in data.paths))


def _load(
    experiment: Experiment, tokenizer: Tokenizer, corpora: Corpora, model: Transformer, objective: Objective
) -> Prepared:
    training = experiment.training
    paired = model.config.encoder is not None and model.config.decoder is not None
    target = (training.target_length or objective.target_length(training.length)) if paired else training.length
    room = Room(
        source=training.length if model.config.encoder is not None else 0,
        target=target if model.config.decoder is not None else 0,
    )
    longest = model.config.max_length
    if longest is not None and max(room.source, room.target) > longest:
        raise ConfigError("training.too_long", given=max(room.source, room.target), limit=longest)
    pad = tokenizer.special.pad or 0
    common = {"batch_size": training.batch_size, "pad": pad, "seed": training.seed}
    train = Loader(corpora.train, objective, room, weights=experiment.data.weights, **common)  # type: ignore[arg-type]
    valid = None
    if corpora.valid is not None:
        counted = {"token_bytes": tokenizer.token_bytes()}
        valid = Loader([corpora.valid], objective, room, **common, **counted)  # type: ignore[arg-type]
    return Prepared(tokenizer, corpora, model, objective, train, valid)


def _tokenizer(experiment: Experiment, out: Path, tell: Tell, split: Plan) -> Tokenizer:
    """The one that is named, that of the model to start from, that of an earlier try, or a new one."""
    choice, start = experiment.tokenizer, experiment.model.start
    folder = out / "tokenizer"
    if choice.path is not None or start is not None:
        return Tokenizer.from_pretrained(_kept(choice.path or str(start), out))
    if folder.is_dir():
        return Tokenizer.from_pretrained(folder)
    tell("tokenizer", {"kind": str(choice.kind), "vocab_size": choice.vocab_size})
    data = experiment.data
    texts = (
        text
        for paths in _groups(data)
        for example in split(paths).train(read(paths, source_options(data)))
        for text in example.texts
    )
    return save_whole(learn_tokenizer(texts, choice, experiment.model), folder)


def _kept(place: str, out: Path) -> str:
    """Where a run finds what it started from: there, or in its newest checkpoint if that has been moved since."""
    begun = newest(out / "checkpoints") if (out / "checkpoints").is_dir() and not Path(place).exists() else None
    return place if begun is None else str(begun)


def save_whole(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """Save a run's tokenizer whole or not at all, should the process die; give it back."""
    working = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    tokenizer.save_pretrained(working)
    working.rename(folder)
    return tokenizer


def note_padding(shape: model_config.Transformer) -> list[str]:
    """What other tools make of a padding token that stands elsewhere than they take it to be; nothing where all is well."""
    pad, size = shape.embedding.padding, shape.vocab_size
    return [] if pad in (None, size - 1) else [message("training.note_padding", pad=pad, size=size)]


def learn_tokenizer(texts: Iterable[str], choice: TokenizerChoice, model: ModelChoice) -> Tokenizer:
    """The tokenizer that a run asks for, trained on texts, for a model of that family.

    Raises:
        DataError: there is no text, or the vocabulary is too small.
        ConfigError: an unknown family.

    Example:
        >>> characters = TokenizerChoice(kind="character", vocab_size=200)
        >>> learn_tokenizer(["to be or not to be"], characters, ModelChoice(preset="gpt2")).special.pad
        0
    """
    return train_tokenizer(
        texts,
        kind=choice.kind or "byte_bpe",
        vocab_size=choice.vocab_size,
        lowercase=bool(choice.lowercase),
        special_tokens=choice.special_tokens,
        user_tokens=choice.user_tokens,
        pad_last=find_preset(model.preset or "").pad_last,
    )


def _groups(data: DataChoice) -> list[tuple[str, ...]]:
    """The paths that make a store: all together, or each its own where they have weights."""
    return [(path,) for path in data.paths] if data.weights else [data.paths]


def _split(data: DataChoice, paths: tuple[str, ...]) -> Split:
    """What is held out of the text of these paths."""
    if data.valid:
        return Split()
    examples, pairs = read(paths, source_options(data)), data.source_field is not None
    return plan_split(examples, data.valid_fraction, data.held_out, pairs=pairs)


def source_options(data: DataChoice) -> SourceOptions:
    """How the files of a choice are read."""
    pair = tuple(name for name in (data.source_field, data.target_field) if name is not None)
    fields = pair if len(pair) == 2 else (data.text_field,)
    return SourceOptions(fields=fields, document=data.document, on_error=data.on_error, encoding=data.encoding)


def choose_model(
    choice: ModelChoice, vocab_size: int, *, pad: int | None = None
) -> tuple[Preset, Config, model_config.Transformer]:
    """Family, options and configuration for a vocabulary of that size, unless the options say their own.

    `pad` is the tokenizer's padding id: RoBERTa counts its positions from it, Marian keeps its vector zero.

    Raises:
        ConfigError: an unknown family, size or option, or a value out of range.
    """
    preset = find_preset(choice.preset or "")
    known = {"vocab_size": vocab_size, **(preset.of_padding(pad) if pad is not None else {})}
    options = preset.choose(choice.size, {**known, **choice.overrides})
    return preset, options, preset.build(options)


def shape_of(experiment: Experiment, tokenizer: Tokenizer | None = None) -> model_config.Transformer:
    """The model of an experiment, whose tokenizer may not be there yet."""
    if experiment.model.start is not None:
        return Transformer.from_pretrained(experiment.model.start).config
    size = experiment.tokenizer.vocab_size
    if tokenizer is None and experiment.tokenizer.path is not None:
        tokenizer = Tokenizer.from_pretrained(experiment.tokenizer.path)
    return choose_model(experiment.model, size if tokenizer is None else tokenizer.vocab_size)[2]


def choose_start(name: str) -> ModelChoice:
    """A family by its name starts from random weights; anything else is a run, a folder or a hub name to go on from.

    Example:
        >>> choose_start("gpt2").preset, choose_start("runs/mine").start
        ('gpt2', 'runs/mine')
    """
    return ModelChoice(preset=name) if name in PRESETS else ModelChoice(start=name)


def usual_objective(choice: ModelChoice, *, paired: bool = False) -> ObjectiveConfig:
    """The objective that a family was published with; without pairs, an encoder-decoder denoises.

    Example:
        >>> usual_objective(ModelChoice(preset="bert")).kind
        'masked'
    """
    preset = find_preset(choice.preset) if choice.preset else Transformer.from_pretrained(str(choice.start)).preset
    kind = preset.objective if preset is not None else "causal"
    if paired and kind in ("denoising", "infilling"):
        kind = "sequence_to_sequence"
    elif kind == "sequence_to_sequence" and not paired:
        kind = "denoising"
    return PUBLISHED[kind]


def _model(experiment: Experiment, tokenizer: Tokenizer, out: Path) -> Transformer:
    if experiment.model.start is not None:
        start = _kept(experiment.model.start, out)
        model = Transformer.from_pretrained(start, overrides=experiment.model.overrides)
        model.take_off()
        model.draw_head()
        return model
    preset, options, shape = choose_model(experiment.model, tokenizer.vocab_size, pad=tokenizer.special.pad)
    return Transformer(shape, preset=preset, options=options)


def _check_memory_early(experiment: Experiment) -> None:
    """Refuse a size that cannot fit before any work is done."""
    if experiment.model.start is None:
        from trifold.training.plan import require_memory_for

        shape = choose_model(experiment.model, experiment.tokenizer.vocab_size)[2]
        require_memory_for(shape, experiment.training)


def build_corpora(
    data: DataChoice, tokenizer: Tokenizer, folder: Path, *, words: bool, split: Plan | None = None
) -> Corpora:
    """The token stores, made now or found in `folder` if they are of the same text and tokenizer.

    One store for all paths together, or one for each where they have weights; held-out text from `data.valid`, else a
    part of each store's own.
    """
    trains, valids, report, split = [], [], ReadReport(), split or partial(_split, data)
    for number, paths in enumerate(_groups(data)):
        place = folder / f"{number}"
        _build(data, paths, tokenizer, place, report, words=words, split=split)
        trains.append(TokenStore(place / "train", tokenizer))
        if (place / "valid").is_dir():
            valids.append(TokenStore(place / "valid", tokenizer))
    if data.valid:
        whole = replace(data, valid=(), valid_fraction=0.0)
        _build(whole, data.valid, tokenizer, folder / "valid", report, words=words, split=partial(_split, whole))
        valids = [TokenStore(folder / "valid" / "train", tokenizer)]
    held = [store for store in valids if store.num_tokens]
    return Corpora(trains, held[0] if held else None, report)


def _is_there(path: str) -> bool:
    try:
        require_there(path)
    except DataError:
        return False
    return True


def _build(
    data: DataChoice,
    paths: tuple[str, ...],
    tokenizer: Tokenizer,
    place: Path,
    report: ReadReport,
    *,
    words: bool,
    split: Plan,
) -> None:
    options, hold_out = source_options(data), 0.0 if data.valid else data.valid_fraction
    read_as = [list(options.fields), options.document, options.on_error, words, hold_out]
    if options.encoding != "utf-8":
        read_as.append(options.encoding)
    if hold_out and data.held_out != "spread":
        read_as.append(data.held_out)
    details: dict[str, object] = {"options": read_as}  # the content decides, wherever it lies; its tokens do without it
    if not (place / "train" / "index.json").is_file() or all(map(_is_there, paths)):
        details["content"] = fingerprint(paths)
    if TokenStore.describes(place / "train", tokenizer, details):
        return
    build_stores(
        read(paths, options, report),
        tokenizer,
        place,
        words=words,
        pairs=data.source_field is not None,
        split=split(paths),
        details={"paths": list(paths), **details},
    )
