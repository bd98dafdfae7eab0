"""A label for each word: entities, parts of speech, Chinese word boundaries."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from trifold.batch import IGNORED, Batch, Loss
from trifold.data.rows import Row
from trifold.errors import ConfigError, DataError, MissingValueError
from trifold.evaluation.metric import Tally, accuracy, entity_f1
from trifold.example import Ids, TrainingExample
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.config import Tagging
from trifold.tasks.frame import Frame
from trifold.tasks.head import TaskHead, labelled_vectors, task_head
from trifold.tasks.record import Placed, Record, Role, text_of, value_of
from trifold.tasks.task import Prediction, run_places
from trifold.text import Tokenizer

__all__ = ["TaggingTask", "find_tags", "split_words"]

OUTSIDE = "O"
ROLES = (
    Role("tokens", ("tokens", "words", "text", "sentence")),
    Role("tags", ("tags", "ner_tags", "labels", "pos_tags"), label=True),
)


class TaggingTask:
    """One tag a word, read at the word's first token.

    Args:
        config: with its tags.
        tokenizer: the model's.
        model: the model's configuration.

    Raises:
        ConfigError: there are fewer than two tags.
    """

    roles = ROLES
    needs_segments = False

    def __init__(self, config: Tagging, tokenizer: Tokenizer, model: Any) -> None:
        if len(config.labels) < 2:
            raise ConfigError("task.few_labels", given=", ".join(config.labels) or "-")
        self.config, self.tokenizer = config, tokenizer
        self.frame = Frame(tokenizer, model, config.max_length)
        self.number = {label: number for number, label in enumerate(config.labels)}
        self.entities = any(name.startswith(("B-", "I-")) for name in config.labels)
        self.metrics = ("entity_f1", "tag_accuracy") if self.entities else ("tag_accuracy",)

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """The words of a sentence and, where the file has them, as many tags."""
        words = split_words(row, columns["tokens"])
        if "tags" not in columns:
            return Record(words, None, row.origin)
        tags = split_words(row, columns["tags"])
        if len(tags) != len(words):
            raise DataError("task.tags_differ", origin=row.origin, words=len(words), tags=len(tags))
        for tag in tags:
            if tag not in self.number:
                known = ", ".join(self.config.labels)[:300]
                raise DataError("task.unknown_label", origin=row.origin, given=tag, known=known)
        return Record(words, tags, row.origin)

    def build_head(self, d_model: int) -> nn.Module:
        """One output a tag, straight from each vector."""
        return TaskHead(d_model, len(self.config.labels), dense=False)

    def _lay(self, records: Sequence[Record]) -> list[tuple[Ids, list[int]]]:
        """For each record its ids, and the place of the first token of each word that fits."""
        flat = [word if number == 0 else f" {word}" for record in records for number, word in enumerate(record.inputs)]
        encoded = iter(self.tokenizer.encode_batch(flat, plain=True))
        laid = []
        for record in records:
            parts = [next(encoded).ids for _ in record.inputs]
            starts = np.cumsum([0, *map(len, parts)])
            (text,) = self.frame.fit([np.concatenate(parts)])
            ids, (begin,) = self.frame.lay([text])
            places = [begin + int(start) for start, part in zip(starts[:-1], parts, strict=True)
                      if len(part) and start < len(text)]  # fmt: skip
            laid.append((ids, places))
        return laid

    def _label(self, ids: Ids, places: Sequence[int], labels: Sequence[int]) -> TrainingExample:
        row = np.full(len(ids), IGNORED, dtype=np.int64)
        row[list(places)] = labels
        return self.frame.each(ids, row)

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Each sentence with its tags at the first tokens of its words."""
        made = []
        for record, (ids, places) in zip(records, self._lay(records), strict=True):
            tags = [self.number[tag] for tag in record.gold][: len(places)]
            made.append((self._label(ids, places, tags),))
        return made

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the tags."""
        vectors, labels = labelled_vectors(model(batch), batch, "mark")
        return Loss(F.cross_entropy(task_head(model)(vectors), labels, reduction="sum"), len(labels))

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The most probable tag of each word; words beyond the longest input are outside."""

        def read(hidden: Tensor, batch: Batch) -> Tensor:
            return task_head(model)(labelled_vectors(hidden, batch, "mark")[0]).softmax(-1)

        laid = self._lay(records)
        examples = [self._label(ids, places, [0] * len(places)) for ids, places in laid]
        found = run_places(model, examples, self.frame.pad, read)
        return [self._prediction(record, chances) for record, chances in zip(records, found, strict=True)]

    def _prediction(self, record: Record, chances: Tensor) -> Prediction:
        tags = [self.config.labels[number] for number in chances.argmax(-1).tolist()]
        tags += [OUTSIDE] * (len(record.inputs) - len(tags))
        return Prediction(tags, chances.max(-1).values.double().prod().item() if len(chances) else 1.0)

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """F1 of whole entities where tags are BIO, and the accuracy of single tags."""
        gold, said = [list(record.gold) for record in records], [list(one.answer) for one in predictions]
        flat = [np.array([name for tags in side for name in tags]) for side in (gold, said)]
        single = {"tag_accuracy": accuracy(*flat)}
        return {"entity_f1": entity_f1(gold, said), **single} if self.entities else single


def split_words(row: Row, column: str) -> tuple[str, ...]:
    """The words or tags in a column: a list, or a text divided by spaces.

    Raises:
        MissingValueError: there are none.
    """
    value = value_of(row, column)
    words = tuple(map(str, value)) if isinstance(value, list) else tuple(text_of(row, column).split())
    if not words:
        raise MissingValueError("task.empty_value", origin=row.origin, name=column)
    return words


def find_tags(config: Tagging, rows: Sequence[Placed]) -> Tagging:
    """The configuration with the tags of the training data.

    Raises:
        DataError: all words have the same tag.
    """
    found = set(config.labels)
    for row, columns in rows:
        with suppress(DataError):  # such a row is left out, or stops the run where records are made
            found.update(split_words(row, columns["tags"]))
    tags = sorted(found)
    if len(tags) < 2:
        raise DataError("task.one_class", given=", ".join(tags) or "-", count=len(rows))
    return config if config.labels else replace(config, labels=tuple(tags))
