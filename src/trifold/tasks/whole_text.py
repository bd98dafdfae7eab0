"""What tasks share that say one thing of a whole text, or of a pair of texts: how it is laid, and what the head reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from annotated_types import Interval
from jaxtyping import Float, Int
from torch import Tensor, nn

from trifold.batch import Batch
from trifold.checkpoint.hugging_face import find_folder
from trifold.config import Natural, require
from trifold.data.rows import Row
from trifold.errors import ConfigError
from trifold.evaluation.calibration import fit_temperature
from trifold.example import Extras, TrainingExample
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.presets.pretrained import resolve
from trifold.presets.task_class import Kind as HeadKind
from trifold.tasks.frame import Frame
from trifold.tasks.head import HeadWanted, read_labelled, task_head
from trifold.tasks.ngrams import NGramBag, fit_ngrams, most_rows
from trifold.tasks.record import Record, optional_text, text_of
from trifold.tasks.task import Task, TaskConfig, run_places
from trifold.text import Tokenizer
from trifold.text.training import Kind

__all__ = ["BesideRuns", "WholeTextConfig", "WholeTexts", "texts_in"]


class WholeTextConfig(TaskConfig):
    """The settings that such tasks have in common; each says itself what they are unless told otherwise."""

    __slots__ = ()

    match: bool
    pooling: Literal["auto", "mean", "first", "last"]
    token_dropout: float
    max_length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BesideRuns(WholeTextConfig):
    """Settings of a task that may look at runs of tokens beside the model.

    Attributes:
        ngrams: tokens in the longest run that a linear model looks at, which is fitted before training begins; the deep one
            learns what it leaves over. 0 for none; None: 2 where the model starts from random weights.
        ngram_rows: of the linear model's table; found in training.
    """

    tokenizer_kind: ClassVar[Kind] = "wordpiece"  # whose runs are runs of words

    ngrams: Annotated[int, Interval(ge=0, le=8)] | None = None
    ngram_rows: Natural = 0

    def started_from(self, start: str | None) -> "BesideRuns":
        """With the linear model of the run that this one goes on from; with one of its own where nobody has trained yet."""
        if start is None:
            return replace(self, ngrams=LONGEST if self.ngrams is None else self.ngrams)
        told = _saved(resolve(find_folder(start)))
        longest, rows = told.get("ngrams"), told.get("ngram_rows")
        if told.get("kind") == self.kind and longest and rows and self.ngrams in (None, longest):
            return replace(self, ngrams=longest, ngram_rows=rows)
        return replace(self, ngrams=self.ngrams or 0)


def _saved(folder: Path) -> Mapping[str, Any]:
    """What a folder's `task.json` holds, as it stands; it is checked where the task is opened."""
    try:
        task = json.loads((folder / "task.json").read_text(encoding="utf-8"))["task"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return {}
    return task if isinstance(task, dict) else {}


W = TypeVar("W", bound=WholeTextConfig)
LONGEST = 2
"""Tokens in the longest run that is looked at beside a model of random weights."""
ENOUGH = 100
"""Examples that a temperature is fitted to, or more."""


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
        head: HeadKind = "classification",
    ) -> None:
        if config.token_dropout and tokenizer.special.mask is None:
            given, allowed = config.token_dropout, "0: the tokenizer has no mask token"
            raise ConfigError("config.out_of_range", where="task.token_dropout", given=given, allowed=allowed)
        super().__init__(config, tokenizer, Frame(tokenizer, model, config.max_length))
        self.outputs = len(labels)
        self.pairs, self.match = pairs, config.match
        self.needs_segments = pairs and config.match
        self.ngrams, self.token_dropout = getattr(config, "ngrams", None) or 0, config.token_dropout
        self.head = HeadWanted(head, tuple(labels), problem, self._pooling(config), self._apart(config))

    def _pooling(self, config: W) -> Literal["auto", "mean", "first", "last"]:
        places = ("auto", "mean", "last" if self.frame.decoder else "first")
        if config.pooling not in places:
            allowed = ", ".join(places)
            raise ConfigError("config.out_of_range", where="task.pooling", given=config.pooling, allowed=allowed)
        return config.pooling

    def _apart(self, config: W) -> tuple[str, ...]:
        return tuple(f"task.{name}" for name in ("ngrams", "match") if getattr(config, name, None))

    @property
    def strength(self) -> float:
        """Of a linear model's loss beside half of its squared weights; two outputs share what others have alone."""
        return 5.0 if self.outputs == 2 else 15.0

    @property
    def default_metric(self) -> str:
        """Beside a linear model the loss, which tells small gains from chance."""
        return "loss" if self.ngrams else super().default_metric

    @property
    def from_start(self) -> bool:
        """A linear model has learned before the first step."""
        return bool(self.ngrams)

    def calibrate(self, model: Pretrained, dev: Sequence[Record]) -> None:
        """Divide what head and linear model say of labels, so that probabilities are right as often as they say."""
        chooses = self.outputs > 1 and self.head is not None and self.head.problem == "single_label_classification"
        if not self.ngrams or not chooses or len(dev) < ENOUGH:
            return
        temperature = fit_temperature(self.predicted(model, dev).double().numpy(), self.wanted(dev).numpy())
        bag, output = NGramBag.of(model), task_head(model).output
        with torch.no_grad():
            for part in (bag.table, bag.bias, *output.parameters()):
                part.div_(temperature)

    def build_parts(self, model: Any) -> dict[str, nn.Module]:
        """The linear model of runs of tokens, where that is asked for.

        Raises:
            ConfigError: a folder says that its table is larger than any that is fitted.
        """
        del model
        rows, most = getattr(self.config, "ngram_rows", 0) or 1, most_rows(self.outputs)
        require(rows <= most, where="task.ngram_rows", given=rows, allowed=f"<= {most}")
        return {"ngrams": NGramBag(self.outputs, self.ngrams, rows)} if self.ngrams else {}

    def criterion(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The summed loss of logits [texts, outputs] at what is wanted of each text."""
        raise NotImplementedError

    def wanted(self, records: Sequence[Record]) -> Tensor:
        """What is wanted of each text, as the criterion reads it."""
        raise NotImplementedError

    def training_examples(self, model: Pretrained, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Examples beside what a linear model says of each, which is fitted now; one that was fitted before stays."""
        examples = self.examples(records)
        if not self.ngrams:
            return examples
        bag = NGramBag.of(model).requires_grad_(False)
        if bag.rarity.any():
            return examples
        laid = [example for (example,) in examples]
        bag, said = fit_ngrams(bag, laid, self.wanted(records), self.criterion, strength=self.strength)
        model.heads["ngrams"] = bag
        self.config = replace(self.config, ngram_rows=len(bag.table))
        for part in task_head(model).output.parameters():
            nn.init.zeros_(part)  # at first the linear model says it all
        pairs = zip(laid, said.tolist(), strict=True)
        return [(replace(example, extras={**example.extras, "beside": row}),) for example, row in pairs]

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
