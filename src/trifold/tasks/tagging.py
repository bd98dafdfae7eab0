"""A label for each word or character: entities, parts of speech, Chinese word boundaries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trifold.batch import IGNORED, Batch, Loss
from trifold.config import Count
from trifold.data.rows import Row
from trifold.errors import ConfigError, DataError, MissingValueError, ModelFileError
from trifold.evaluation.entity import Scheme, entities, find_scheme
from trifold.evaluation.metric import Tally, accuracy, entity_f1
from trifold.example import Ids, TrainingExample
from trifold.locale import message
from trifold.model import Transformer
from trifold.model import config as model_config
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.baseline import most_frequent_tags
from trifold.tasks.frame import Frame
from trifold.tasks.head import HeadWanted, read_labelled
from trifold.tasks.label import agreed_labels, label_keys, named, names_in_files, sort_labels
from trifold.tasks.record import Columns, Placed, Record, Role
from trifold.tasks.sentence import read_sentence, tags_in, windows
from trifold.tasks.task import Folder, Labels, Prediction, Task, TaskConfig, run_places
from trifold.tasks.units import find_units, joined, places, spaced
from trifold.text import Tokenizer
from trifold.text.training import Kind

__all__ = ["Tagging", "TaggingTask", "find_tags"]

SPACE = "▁"
ROLES = (
    Role("tokens", ("tokens", "words", "characters", "text", "sentence")),
    Role("tags", ("tags", "ner_tags", "labels", "label", "ner", "pos_tags", "pos", "upos"), label=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tagging(TaskConfig):
    """A label for each word or character of a sentence.

    Attributes:
        labels: the tags; empty: found in the training data.
        label_names: names of integer tags, in their order, or each as `number=name`. The tags are then these.
        scheme: how tags mark entities; `auto`: found from the tags, and counted as seqeval does by default (BILOU by the
            letter); a scheme by name: counted by its letter, as seqeval's strict mode does; `none`: tags are no marks.
        units: what a text without spaces or tags is cut into: `characters`, `words` (Han characters each by itself),
            `treebank` (words, with `n't` and `'s` apart), `segments` (words, also of Chinese), `spaces`; `auto`: found in
            the training data.
        max_length: longest input in tokens; a longer sentence is read in several, which overlap.

    Example:
        >>> Tagging().kind
        'tagging'
    """

    roles: ClassVar[tuple[Role, ...]] = ROLES
    classifies: ClassVar[bool] = True
    tagged: ClassVar[bool] = True
    tokenizer_kind: ClassVar[Kind] = "wordpiece"  # transformers' pipeline takes a byte token of one space for a word
    kind: Literal["tagging"] = "tagging"
    labels: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    scheme: Literal["auto", "none", "bio", "iob1", "iob2", "ioe1", "ioe2", "iobes", "bmes", "bilou"] = "auto"
    units: Literal["auto", "characters", "words", "treebank", "segments", "spaces"] = "auto"
    max_length: Count = 256

    def named_by_files(self, columns: Mapping[str, Columns]) -> "Tagging":
        """With the names of integer tags that files give themselves, unless the user did."""
        if self.label_names or self.labels:
            return self
        return replace(self, label_names=names_in_files(columns, "tags"))

    def complete(self, rows: Sequence[Placed]) -> "tuple[Tagging, list[float] | None]":
        """With tags, and with what they stand on.

        Raises:
            DataError: all words have the same tag.
        """
        return find_tags(self, rows), None

    def labels_in(self, rows: Sequence[Placed]) -> Labels:
        """The tags of each row."""
        return [_tags_of(row, columns) for row, columns in rows]

    def agree(self, model: Pretrained) -> "Tagging":
        """With the tags in the order that a tuned model has them in."""
        return replace(self, labels=agreed_labels(self.labels, model))

    def opened(self, model: Pretrained, tokenizer: Tokenizer, path: str | Path) -> "Tagging":
        """A tagger from before units were kept takes those that it was trained with."""
        if self.units != "auto":
            return self
        if model.decoder is not None or tokenizer.kind != "wordpiece":
            raise ModelFileError("task.older_tagger", path=path)
        return replace(self, units="spaces")

    @classmethod
    def found_in(cls, folder: Folder) -> "Tagging | None":
        """A folder whose head says a tag of each token."""
        outputs = folder.outputs
        if outputs is None or outputs.kind != "tagging":
            return None
        return cls(labels=outputs.labels, max_length=folder.max_length)

    def build(
        self, tokenizer: Tokenizer, model: model_config.Transformer, *, class_weights: Sequence[float] | None = None
    ) -> "TaggingTask":
        """The task for a model."""
        del class_weights
        return TaggingTask(self, tokenizer, model)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a sentence as the model reads it.

    Attributes:
        ids: all tokens.
        places: where the words that it labels are labelled.
        words: their numbers in the sentence, first and end.
        record: number of the sentence.
    """

    ids: Ids
    places: list[int]
    words: tuple[int, int]
    record: int


class TaggingTask(Task[Tagging]):
    """One tag a word: read at its first token where the model sees the whole sentence, else at its last.

    Args:
        config: with its tags.
        tokenizer: the model's.
        model: the model's configuration.

    Raises:
        ConfigError: there are fewer than two tags, or none of the scheme that is asked for.
    """

    def __init__(self, config: Tagging, tokenizer: Tokenizer, model: Any) -> None:
        if len(config.labels) < 2:
            raise ConfigError("task.few_labels", given=", ".join(config.labels) or "-")
        super().__init__(config, tokenizer, Frame(tokenizer, model, config.max_length, reads="encoder"))
        self.head = HeadWanted("tagging", config.labels, each=True)
        self.number = label_keys(config.labels, config.label_names)
        self.room = self.frame.room(1)
        self.back = not self.frame.encoder
        self.units = "words" if config.units == "auto" else config.units
        self.scheme = choose_scheme(config)
        self.metrics = ("tag_accuracy",) if self.scheme is None else ("entity_f1", "tag_accuracy")

    def remarks(self) -> list[str]:
        """How tags are counted, what they stand on, and whether transformers' pipeline finds the same entities."""
        told = {
            "count": len(self.config.labels),
            "units": self.units,
            "scheme": str(self.scheme),
            "tags": ", ".join(self.config.labels)[:100],
        }
        numbers = all(label.isdigit() for label in self.config.labels)
        if self.scheme is not None:
            apart = self.tokenizer.kind == "byte_bpe"  # a token may be a space, for the pipeline a word
            return [message("task.note_entities", **told), *([message("task.note_pipeline")] if apart else [])]
        return [message("task.note_numbered_tags", **told) if numbers else message("task.note_tags", **told)]

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """The words of a sentence and, where the file has them, as many tags."""
        words, tags, text = read_sentence(row, columns, units=self.units)
        for tag in tags or ():
            if tag not in self.number:
                known = ", ".join(self.config.labels)[:300]
                raise DataError("task.unknown_label", origin=row.origin, given=tag, known=known)
        gold = None if tags is None else tuple(self.config.labels[self.number[tag]] for tag in tags)
        return Record(words, gold, row.origin, text=text)

    def made_up_row(self) -> dict[str, Any]:
        """One word with the first tag."""
        return {"tokens": ["the"], "tags": [self.config.labels[0]]}

    def _encoded(self, records: Sequence[Record]) -> list[list[Ids]]:
        """For each sentence the tokens of each word; one that the tokenizer leaves nothing of has a token all the same."""
        apart = [spaced(record.inputs, self.units) for record in records]
        flat = [
            f" {word}" if space else word
            for record, spaces in zip(records, apart, strict=True)
            for word, space in zip(record.inputs, spaces, strict=True)
        ]
        encoded = iter(self.tokenizer.encode_ids(flat, plain=True))
        blank = self._blank()
        return [
            [self._seen(next(encoded), blank, glued=number > 0 and not space) for number, space in enumerate(spaces)]
            for spaces in apart
        ]

    def _seen(self, ids: Ids, blank: Ids, *, glued: bool) -> Ids:
        """The tokens of a word as the model reads them: at least one, at most as fit, none for a space not there."""
        if glued and len(ids) > 1 and self.tokenizer.id_to_token(int(ids[0])) == SPACE:
            ids = ids[1:]
        if len(ids) > self.room:
            ids = ids[-self.room :] if self.back else ids[: self.room]
        return ids if len(ids) else blank

    def _blank(self) -> Ids:
        """What stands for a word that the tokenizer leaves nothing of."""
        special = self.tokenizer.special
        space = self.tokenizer.encode_ids([" "], plain=True)[0]
        if special.unk is None and len(space):
            return space[:1]
        return np.array([self.frame.end if special.unk is None else special.unk], dtype=np.int64)

    def _lay(self, records: Sequence[Record]) -> list[Window]:
        """Each sentence in as many windows as it needs; each word is labelled in one of them."""
        laid = []
        for number, parts in enumerate(self._encoded(records)):
            sizes = [len(part) for part in parts]
            for start, stop, first, end in windows(sizes, self.room, back=self.back):
                ids, (begin,) = self.frame.lay([np.concatenate(parts[start:stop])])
                edges = begin + np.cumsum([0, *sizes[start:stop]])
                chosen = edges[1:] - 1 if self.back else edges[:-1]
                laid.append(Window(ids, chosen[first - start : end - start].tolist(), (first, end), number))
        return laid

    def _label(self, window: Window, labels: Sequence[int]) -> TrainingExample:
        row = np.full(len(window.ids), IGNORED, dtype=np.int64)
        row[window.places] = labels
        return self.frame.each(window.ids, row)

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """One example a window, with the tags of its words."""
        examples = []
        for window in self._lay(records):
            tags = records[window.record].gold[slice(*window.words)]
            examples.append((self._label(window, [self.number[tag] for tag in tags]),))
        return examples

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the tags."""
        logits, labels = read_labelled(model, model(batch), batch)
        return Loss(F.cross_entropy(logits, labels, reduction="sum"), len(labels))

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The most probable tag of each word."""

        def read(hidden: Tensor, batch: Batch) -> Tensor:
            return read_labelled(model, hidden, batch)[0].softmax(-1)

        laid = self._lay(records)
        examples = [self._label(window, [0] * len(window.places)) for window in laid]
        per_record: list[list[Tensor]] = [[] for _ in records]
        for window, chances in zip(laid, run_places(model, examples, self.frame.pad, read), strict=True):
            per_record[window.record].append(chances)
        return [self._prediction(record, torch.cat(parts)) for record, parts in zip(records, per_record, strict=True)]

    def _prediction(self, record: Record, chances: Tensor) -> Prediction:
        tags = [self.config.labels[number] for number in chances.argmax(-1).tolist()]
        sure = chances.max(-1).values.double()
        details = {} if self.scheme is None else {"entities": self._entities(record, tags, sure.tolist())}
        return Prediction(tags, sure.prod().item(), details=details)

    def _entities(self, record: Record, tags: Sequence[str], sure: Sequence[float]) -> list[dict[str, Any]]:
        """Kind, text, characters and mean probability of each entity, in reading order."""
        text = record.text or joined(record.inputs, self.units)
        spans = places(text, record.inputs)
        rows = []
        for kind, first, last in sorted(entities(tags, self.scheme), key=lambda one: one[1:]):
            start, end = spans[first][0], spans[last][1]
            score = sum(sure[first : last + 1]) / (last + 1 - first)
            rows.append(
                {
                    "type": kind.strip("-_") or kind,
                    "text": text[start:end],
                    "start": start,
                    "end": end,
                    "score": round(score, 6),
                }
            )
        return rows

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """F1 of whole entities where the tags mark them, and the accuracy of single tags."""
        gold, said = [list(record.gold) for record in records], [list(one.answer) for one in predictions]
        flat = [np.array([name for tags in side for name in tags]) for side in (gold, said)]
        single = {"tag_accuracy": accuracy(*flat)}
        return single if self.scheme is None else {"entity_f1": entity_f1(gold, said, self.scheme), **single}

    def baselines(self, train: Sequence[Record], test: Sequence[Record]) -> dict[str, list[Prediction]]:
        """The tag that each word has most often."""
        return {"most_frequent_tag": most_frequent_tags(train, test)}


def _tags_of(row: Row, columns: Columns) -> tuple[str, ...] | None:
    try:
        return tags_in(row, columns["tags"])
    except DataError:
        return None


def choose_scheme(config: Tagging) -> Scheme | None:
    """How entities are counted: as the configuration says, or as its tags look.

    Raises:
        ConfigError: the tags are not of the scheme that is asked for.
    """
    scheme = find_scheme(config.labels)
    if config.scheme in ("auto", "none"):
        return scheme if config.scheme == "auto" else None
    wanted = Scheme(config.scheme, strict=True, suffix=scheme is not None and scheme.suffix)
    marks = {label[-1:] if wanted.suffix else label[:1] for label in config.labels}
    if scheme is None or not marks <= {*wanted.marks, "O"}:
        raise ConfigError("task.other_scheme", given=config.scheme, labels=", ".join(config.labels)[:300])
    return wanted


def find_tags(config: Tagging, rows: Sequence[Placed]) -> Tagging:
    """The configuration with the tags of the training data, and with what they stand on.

    Raises:
        DataError: all words have the same tag, or would without the rows that are damaged.
    """
    tags, sentences, damaged = set(config.labels), [], []
    for row, columns in rows:
        try:
            words, row_tags, _ = read_sentence(row, columns, units="words")
        except DataError as error:  # such a row is left out, or stops the run where records are made
            damaged += [] if isinstance(error, MissingValueError) else [error]
            continue
        tags.update(row_tags or ())
        sentences.append(words)
    labels = config.labels or named(config.label_names) or sort_labels(tags)
    if len(labels) < 2 and damaged:
        raise damaged[0]
    if len(labels) < 2:
        raise DataError("task.one_class", given=", ".join(tags) or "-", count=len(rows))
    units = find_units(sentences) if config.units == "auto" else config.units
    return replace(config, labels=labels, units=units)
