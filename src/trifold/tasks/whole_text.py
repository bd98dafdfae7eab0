"""What tasks share that say one thing of a whole text, or of a pair of texts: how it is laid, and what the head reads."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trifold.batch import Batch
from trifold.data.rows import Row
from trifold.errors import ConfigError
from trifold.example import Extras, TrainingExample
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.presets.task_class import Kind
from trifold.tasks.frame import Frame
from trifold.tasks.head import HeadWanted, read_labelled
from trifold.tasks.record import Record, optional_text, text_of
from trifold.tasks.task import Task, TaskConfig, run_places
from trifold.text import Tokenizer

__all__ = ["WholeTextConfig", "WholeTexts", "texts_in"]


class WholeTextConfig(TaskConfig):
    """The settings that such tasks have in common; each says itself what they are unless told otherwise."""

    __slots__ = ()

    match: bool
    pooling: Literal["auto", "mean", "first", "last"]
    token_dropout: float
    max_length: int


W = TypeVar("W", bound=WholeTextConfig)


def texts_in(row: Row, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The text of a row, and its partner where the file has such a column.

    Raises:
        MissingValueError: the text is missing.

    Example:
        >>> texts_in(Row({"a": "rain", "b": None}, "x.jsonl:1"), {"text": "a", "text_pair": "b"})
        ('rain', '')
    """
    pair = (optional_text(row, columns["text_pair"]),) if "text_pair" in columns else ()
    return (text_of(row, columns["text"]), *pair)


class WholeTexts(Task[W]):
    """Texts or pairs laid before a model, and the outputs of its head for each.

    Args:
        config: of the task.
        tokenizer: the model's.
        model: the model's configuration.
        pairs: whether there are two texts.
        labels: names of the numbers that the head says of each text.
        problem: how they become an answer (`Outputs.problem`).
        head: the task as Hugging Face's classes part them.

    Raises:
        ConfigError: the tokenizer or the model lacks what the configuration needs.
    """

    def __init__(
        self,
        config: W,
        tokenizer: Tokenizer,
        model: Any,
        *,
        pairs: bool,
        labels: Sequence[str],
        problem: str = "single_label_classification",
        head: Kind = "classification",
    ) -> None:
        if config.token_dropout and tokenizer.special.mask is None:
            given, allowed = config.token_dropout, "0: the tokenizer has no mask token"
            raise ConfigError("config.out_of_range", where="task.token_dropout", given=given, allowed=allowed)
        super().__init__(config, tokenizer, Frame(tokenizer, model, config.max_length))
        self.outputs = len(labels)
        self.pairs, self.match = pairs, config.match
        self.needs_segments = pairs and config.match
        self.token_dropout = config.token_dropout
        self.head = HeadWanted(head, tuple(labels), problem, self._pooling(config), self._apart(config))

    def _pooling(self, config: W) -> Literal["auto", "mean", "first", "last"]:
        places = ("auto", "mean", "last" if self.frame.decoder else "first")
        if config.pooling not in places:
            allowed = ", ".join(places)
            raise ConfigError("config.out_of_range", where="task.pooling", given=config.pooling, allowed=allowed)
        return config.pooling

    def _apart(self, config: W) -> tuple[str, ...]:
        """Settings that no class of Hugging Face's expresses, by name."""
        return ("task.match",) if config.match else ()

    def lay(
        self, records: Sequence[Record], labels: Sequence[int] = (), extras: Sequence[Extras] = ()
    ) -> list[TrainingExample]:
        """Each record's texts with one label for the whole, and what else the loss needs."""
        flat = [text for record in records for text in record.inputs]
        encoded = iter(self.tokenizer.encode_ids(flat, plain=True))
        parts = [[next(encoded) for _ in record.inputs] for record in records]
        return [self.frame.fitted(*one) for one in zip_longest(parts, labels or [0] * len(parts), extras)]

    def outputs_of(
        self, model: Transformer, batch: Batch
    ) -> tuple[Float[Tensor, "texts outputs"], Int[Tensor, " texts"]]:
        """What the head says of each labelled text, and the labels; in training some tokens are hidden."""
        if model.training and self.token_dropout:
            batch = self._with_hidden_tokens(batch)
        return read_labelled(model, model(self._seen(batch)), batch)

    def _seen(self, batch: Batch) -> Batch:
        return self.frame.marked(batch, match=self.match) if self.pairs else batch

    def _with_hidden_tokens(self, batch: Batch) -> Batch:
        """The batch with some tokens masked at random, none of those with a role."""
        special, changed = self.tokenizer.special, {}
        assert special.mask is not None, "checked when the task was made"
        for side in ("source", "target"):
            tokens = getattr(batch, side)
            if tokens is not None:
                hidden = torch.rand(tokens.shape, device=tokens.device) < self.token_dropout
                hidden &= ~torch.isin(tokens, torch.tensor(special.all_ids, device=tokens.device))
                changed[side] = tokens.masked_fill(hidden, special.mask)
        return replace(batch, **changed)

    def predicted(self, model: Pretrained, records: Sequence[Record]) -> Float[Tensor, "records outputs"]:
        """What the head says of each record, whatever else was in its batch."""

        def read(hidden: Tensor, batch: Batch) -> Tensor:
            return read_labelled(model, hidden, batch)[0]

        found = run_places(model, self.lay(records), self.frame.pad, read, see=self._seen)
        return torch.cat(found) if found else torch.empty(0, self.outputs)
