"""What tasks share that look at a whole text with a linear model of runs of tokens beside the deep one."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, TypeVar

import torch
from annotated_types import Interval
from torch import Tensor, nn

from trifold.checkpoint.hugging_face import find_folder
from trifold.config import Natural, require
from trifold.evaluation.calibration import fit_temperature
from trifold.example import TrainingExample
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.presets.pretrained import resolve
from trifold.tasks.containment import containers
from trifold.tasks.head import task_head
from trifold.tasks.ngram_fit import fit_ngrams
from trifold.tasks.ngrams import NGramBag, most_rows
from trifold.tasks.record import Record
from trifold.tasks.saved import read_task, task_in
from trifold.tasks.whole_text import WholeTextConfig, WholeTexts
from trifold.text.training import Kind

__all__ = ["BesideNGrams", "BesideNGramsConfig"]

LONGEST = 2
"""Tokens in the longest run that is looked at beside a model of random weights."""
ENOUGH = 100
"""Examples that a temperature is fitted to, or more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BesideNGramsConfig(WholeTextConfig):
    """The settings of the linear model.

    Attributes:
        ngrams: tokens in the longest run that it looks at. It is fitted before training begins, and the deep one learns
            what it leaves over. 0 for none; None: 2 where the model starts from random weights.
        ngram_rows: of its table; found in training.
    """

    tokenizer_kind: ClassVar[Kind] = "wordpiece"  # whose runs are runs of words
    lowercase: ClassVar[bool] = True  # a word that begins a sentence is the word that it is elsewhere

    ngrams: Annotated[int, Interval(ge=0, le=8)] | None = None
    ngram_rows: Natural = 0

    @property
    def no_model(self) -> str:
        """A linear model stands beside it, unless there is none."""
        return "cli.family_chosen" if self.ngrams == 0 else "cli.family_beside_words"

    def started_from(self, start: str | None) -> "BesideNGramsConfig":
        """With the linear model of the run that this one goes on from; with one of its own where nobody has trained yet."""
        if start is None:
            return replace(self, ngrams=LONGEST if self.ngrams is None else self.ngrams)
        told = task_in(read_task(resolve(find_folder(start))))
        longest, rows = told.get("ngrams"), told.get("ngram_rows")
        if told.get("kind") == self.kind and longest and rows and self.ngrams in (None, longest):
            return replace(self, ngrams=longest, ngram_rows=rows)
        return replace(self, ngrams=self.ngrams or 0)


N = TypeVar("N", bound=BesideNGramsConfig)


class BesideNGrams(WholeTexts[N]):
    """Texts or pairs, and what the head and a linear model say of each together."""

    @property
    def ngrams(self) -> int:
        """Tokens in the longest run; 0 where there is no linear model."""
        return self.config.ngrams or 0

    def _apart(self, config: N) -> tuple[str, ...]:
        return (*(("task.ngrams",) if config.ngrams else ()), *super()._apart(config))

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
        rows, most = self.config.ngram_rows or 1, most_rows(self.outputs)
        require(rows <= most, where="task.ngram_rows", given=rows, allowed=f"<= {most}")
        return {"ngrams": NGramBag(self.outputs, self.ngrams, rows)} if self.ngrams else {}

    @abstractmethod
    def criterion(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The summed loss of logits [texts, outputs] at what is wanted of each text."""

    @abstractmethod
    def wanted(self, records: Sequence[Record]) -> Tensor:
        """What is wanted of each text, as the criterion reads it."""

    def training_examples(self, model: Pretrained, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Examples beside what a linear model says of each, which is fitted now; one that was fitted before stays."""
        examples = self.examples(records)
        if not self.ngrams:
            return examples
        bag = NGramBag.of(model).requires_grad_(False)
        if bag.rarity.any():
            return examples
        laid = [example for (example,) in examples]
        groups = containers([" ".join(record.inputs) for record in records])
        bag, said = fit_ngrams(bag, laid, self.wanted(records), self.criterion, groups=groups)
        model.heads["ngrams"] = bag
        self.config = replace(self.config, ngram_rows=len(bag.table))
        for part in task_head(model).output.parameters():
            nn.init.zeros_(part)  # at first the linear model says it all
        pairs = zip(laid, said.tolist(), strict=True)
        return [(replace(example, extras={**example.extras, "beside": row}),) for example, row in pairs]
