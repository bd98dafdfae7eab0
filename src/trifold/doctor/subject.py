"""Who is examined: a preset, a run or a Hugging Face folder, with text to examine it on.

The text is the run's own where it was kept, else a small sample in English and Chinese.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trifold.data import TokenStore
from trifold.errors import ModelFileError
from trifold.example import TrainingExample
from trifold.model import Attention
from trifold.objective import Objective
from trifold.objective.config import Causal, Denoising, Infilling, Masked, ObjectiveConfig, SequenceToSequence
from trifold.presets import PRESETS
from trifold.presets.pretrained import Transformer
from trifold.tasks import LoadedModel, load
from trifold.tasks.build import is_fine_tuned
from trifold.text import Tokenizer
from trifold.training import AdamW, DataChoice, Experiment, ModelChoice, TokenizerChoice, Training, read_experiment
from trifold.training.prepare import Prepared, prepare, shape_of

__all__ = ["Subject", "open_subject"]

LARGE = 100_000_000
"""Parameters from which on float32 is used, for float64 would take too much memory and time."""
LENGTH, STEPS, LINES = 48, 4, 300
OWN_CHARACTERS = 60_000


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with its tokenizer, objective and text, ready to be examined.

    Attributes:
        name: what was given.
        folder: where the model lies; None for a preset.
        place: an empty folder to work in.
        experiment: a short training of it.
        prepared: the model (exact and without dropout), tokenizer, objective and loaders.
        tuned: the same as a fine-tuned model; None where it is none.
        lines: some of the text.
        own_text: whether the text is that of the run.
    """

    name: str
    folder: Path | None
    place: Path
    experiment: Experiment
    prepared: Prepared
    tuned: LoadedModel | None
    lines: tuple[str, ...]
    own_text: bool

    @property
    def model(self) -> Transformer:
        """The model."""
        return self.prepared.model

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        return self.prepared.tokenizer

    @property
    def objective(self) -> Objective:
        """What it is trained on."""
        return self.prepared.objective

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return self.experiment.training.length

    @property
    def bound(self) -> float:
        """Largest difference, relative to the largest number, that rounding explains."""
        return 1e-10 if next(self.model.parameters()).dtype == torch.float64 else 1e-4

    def examples(self, count: int, length: int) -> list[TrainingExample]:
        """So many examples from its text, of at most so many tokens each."""
        found = list(zip(range(count), self._pieces(length), strict=False))
        return [example for _, example in found]

    def _pieces(self, length: int) -> Iterator[TrainingExample]:
        store, suffix, rng = self.prepared.corpora.train[0], self.objective.suffix, np.random.default_rng(0)
        for index in range(store.num_pieces(length, len(suffix))):
            piece = store.piece(index, length, shift=0, suffix=suffix)
            if piece is not None:
                room = (self.prepared.train.room.source, self.prepared.train.room.target)
                yield from self.objective.prepare(replace(piece, room=room), rng)


def open_subject(target: str, place: Path, *, size: str = "tiny", data: str | None = None) -> Subject:
    """Find out what was given and make it ready.

    Args:
        target: name of a preset, folder of a run, or a Hugging Face folder.
        place: an empty folder to work in.
        size: of a preset.
        data: text to examine it on; None for its own, or the sample.

    Raises:
        ModelFileError: there is no such model.
        ConfigError, DataError: it cannot be trained on this text.
    """
    known = target in PRESETS and not Path(target).is_dir()
    folder = None if known else Path(target)
    if folder is not None and not folder.is_dir():
        raise ModelFileError("doctor.nothing", given=target, known=", ".join(PRESETS))
    wanted = _objective_of(target, folder, known=known)
    paired = isinstance(wanted, SequenceToSequence)
    text, own = (data, True) if data is not None else _text(folder, place, paired=paired)
    columns = ("source", "target") if paired else (None, None)
    experiment = Experiment(
        model=ModelChoice(preset=target, size=size, overrides={"dropout": 0.0}) if known else ModelChoice(start=target),
        data=DataChoice(
            paths=(str(text),),
            document="line",
            valid_fraction=0.0,
            on_error="replace",
            source_field=columns[0],
            target_field=columns[1],
        ),
        tokenizer=TokenizerChoice(path=_trainable(folder, place), vocab_size=1024),
        objective=wanted,
        training=Training(
            steps=STEPS,
            length=LENGTH,
            batch_size=2,
            accumulation=2,
            checkpoint_every=1,
            dtype="float32",
            optimizer=AdamW(lr=1e-3),
        ),
    )
    experiment = _within(experiment)
    prepared = prepare(experiment, place / "prepared", lambda *_: None)
    small = prepared.model.num_parameters() <= LARGE
    without_dropout(prepared.model.to(torch.float64 if small else torch.float32))
    tuned = load(folder) if folder is not None and is_fine_tuned(folder) else None
    with Path(text).open(encoding="utf-8", errors="replace") as file:
        lines = tuple(line.strip() for line in islice(file, LINES))
    return Subject(target, folder, place, experiment, prepared, tuned, lines, own)


def _within(experiment: Experiment) -> Experiment:
    """The same with rows that the model has positions for."""
    length = min(LENGTH, shape_of(experiment).max_length or LENGTH)
    return replace(experiment, training=replace(experiment.training, length=length))


def _trainable(folder: Path | None, place: Path) -> str | None:
    """Where the tokenizer lies, without roles that forbid training and with one for those that it asks for.

    Many folders of decoders pad with the end of a text, and many encoders for a task have no mask: they can be examined.
    """
    if folder is None or (folder / "trifold.json").is_file():
        return None
    tokenizer = Tokenizer.from_pretrained(folder)
    roles = {
        role: text
        for role, text in tokenizer.roles.items()
        if role != "pad" or tokenizer.special.pad != tokenizer.special.eos
    }
    if Transformer.from_pretrained(folder).config.decoder is None and roles:
        needed = [role for role in ("mask", "cls", "sep") if getattr(tokenizer.special, role) is None]
        roles |= dict.fromkeys(needed, next(iter(roles.values())))
    if roles == tokenizer.roles:
        return None
    tokenizer.changed(roles=roles).save_pretrained(place / "tokenizer")
    return str(place / "tokenizer")


def _objective_of(target: str, folder: Path | None, *, known: bool) -> ObjectiveConfig:
    """The run's objective, else the usual one of the family."""
    if folder is not None and (folder / "trifold.json").is_file() and not is_fine_tuned(folder):
        return read_experiment(folder).objective
    model = Transformer.from_preset(target, size="tiny") if known else Transformer.from_pretrained(target)
    if model.config.decoder is None:
        return Masked()
    if model.config.encoder is None:
        return Causal()
    special = None if known else Tokenizer.from_pretrained(target).special
    usual = "denoising" if model.preset is None else model.preset.objective
    if usual == "infilling" and (special is None or special.mask is not None):
        return Infilling()
    return Denoising() if usual == "denoising" and (special is None or special.sentinels) else SequenceToSequence()


def _text(folder: Path | None, place: Path, *, paired: bool) -> tuple[Path, bool]:
    place.mkdir(parents=True, exist_ok=True)
    own = None if folder is None else _own_text(folder)
    if own and not paired:
        path = place / "own.txt"
        path.write_text("\n".join(own) + "\n", encoding="utf-8")
        return path, True
    rows = [line.split("\t") for line in _sample("pairs.tsv")]
    if paired:
        path = place / "sample.jsonl"
        path.write_text(
            "\n".join(json.dumps({"source": one, "target": other}) for one, other in rows), encoding="utf-8"
        )
        return path, False
    path = place / "sample.txt"
    reviews = [line.partition("\t")[2] for line in _sample("reviews.tsv")]
    path.write_text("\n".join([*(text for row in rows for text in row), *reviews]) + "\n", encoding="utf-8")
    return path, False


def _sample(name: str) -> list[str]:
    """The first lines of a sample."""
    text = resources.files("trifold.samples").joinpath(name).read_text(encoding="utf-8")
    return text.splitlines()[1 : LINES + 1]


def _own_text(folder: Path) -> list[str]:
    """Lines from the run's token store, as many as an examination needs."""
    store_folder = folder / "data" / "0" / "train"
    if not (store_folder / "index.json").is_file():
        return []
    tokenizer = Tokenizer.from_pretrained(folder)
    store, lines, size = TokenStore(store_folder, tokenizer), [], 0
    for index in range(store.num_documents):
        line = " ".join(tokenizer.decode(store.document(index)[:400]).split())
        lines.append(line)
        size += len(line)
        if size > OWN_CHARACTERS:
            break
    return [line for line in lines if line]


def without_dropout(model: nn.Module) -> nn.Module:
    """The model with all its dropout at 0, so that two passes are comparable; changed in place.

    Example:
        >>> without_dropout(nn.Sequential(nn.Dropout(0.5)))[0].p
        0.0
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, Attention):
            module.config = replace(module.config, dropout=0.0)
    return model
