"""Instruction tuning: answers to prompts, with the loss on the answer alone; without prompts, plain continuation."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trifold.batch import Batch, Loss
from trifold.data.rows import Row
from trifold.errors import MissingValueError
from trifold.evaluation.metric import Tally
from trifold.example import TrainingExample
from trifold.generation import Sampling
from trifold.model import Transformer
from trifold.objective import token_cross_entropy
from trifold.objective.objective import language_model_loss
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.config import Generation
from trifold.tasks.frame import Frame
from trifold.tasks.record import Record, Role, optional_text, text_of
from trifold.tasks.task import Prediction, run_places
from trifold.tasks.writing import write_answers, written_example
from trifold.text import Tokenizer

__all__ = ["GenerationTask"]

ROLES = (
    Role("prompt", ("instruction", "prompt", "question", "query", "document", "input"), needed=False, alone=("text",)),
    Role("input", ("input", "context"), needed=False),
    Role("response", ("output", "response", "answer", "completion", "summary", "text"), label=True),
)

SLOT = re.compile(r"\{(?:prompt|input)\}")


class GenerationTask:
    """Reads an instruction through the template, writes the answer.

    Args:
        config: with the template.
        tokenizer: the model's.
        model: the model's configuration.
    """

    roles = ROLES
    metrics = ("bits_per_byte",)
    needs_segments = False

    def __init__(self, config: Generation, tokenizer: Tokenizer, model: Any) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.frame = Frame(tokenizer, model, config.max_length)

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """The rendered prompt and, where the file has it, the answer."""
        prompt, given = (optional_text(row, columns.get(role)) for role in ("prompt", "input"))
        gold = text_of(row, columns["response"]) if "response" in columns else None
        if gold is None and not prompt:
            raise MissingValueError("task.missing_value", origin=row.origin, name=columns.get("prompt", "prompt"))
        return Record((self.render(prompt, given),), gold, row.origin)

    def render(self, prompt: str, given: str = "") -> str:
        """The text that the model reads for an instruction: the same code in training and at inference."""
        if not prompt:
            return ""
        template = self.config.template if given.strip() else self.config.template_without_input
        parts = {"{input}": given, "{prompt}": prompt}  # put in at once: a text may itself speak of "{prompt}"
        return SLOT.sub(lambda found: parts[found[0]], template)

    def build_head(self, d_model: int) -> None:
        """None: the language-model head writes."""
        del d_model

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Prompt and answer as the family reads them."""
        return [(one,) for one in self._lay(records)]

    def _lay(self, records: Sequence[Record]) -> list[TrainingExample]:
        prompts = self.tokenizer.encode_ids([record.inputs[0] for record in records], plain=True)
        answers = self.tokenizer.encode_ids([record.gold for record in records], plain=True)
        return [written_example(self.frame, prompt, answer)
                for prompt, answer in zip(prompts, answers, strict=True)]  # fmt: skip

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Cross-entropy of the answer."""
        return language_model_loss(model, batch)

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """How well the model foresees each gold answer (nats and bytes); an answer of its own where there is none."""
        if any(record.gold is None for record in records):
            return self.write(model, records, Sampling(temperature=0.0))
        examples, spelled = self._lay(records), self.tokenizer.token_bytes()

        def read(hidden: Any, batch: Batch) -> Any:
            return token_cross_entropy(model.head, hidden, batch.labels)  # type: ignore[arg-type]

        losses = run_places(model, examples, self.frame.pad, read)
        made = []
        for example, nats in zip(examples, losses, strict=True):
            size = int(spelled[example.labels[example.labels >= 0]].sum())
            made.append(Prediction("", details={"nats": float(nats.double().sum()), "bytes": size}))
        return made

    def write(self, model: Pretrained, records: Sequence[Record], sampling: Sampling) -> list[Prediction]:
        """Answers of the model's own."""
        encoded = self.tokenizer.encode_ids([record.inputs[0] for record in records], plain=True)
        made = write_answers(model, self.tokenizer, self.frame, encoded, sampling)
        return [Prediction(one.text, details={"finish_reason": one.finish_reason, "ids": list(one.ids),
                                              "logprobs": list(one.logprobs)}) for one in made]  # fmt: skip

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """Bits per byte of the answers, and perplexity a byte."""
        del records
        rows = np.array([[one.details["nats"], one.details["bytes"]] for one in predictions], dtype=np.float64)
        return {"bits_per_byte": Tally(rows, lambda total: total[..., 0] / math.log(2) / total[..., 1].clip(1))}
