"""Pre-training side by side: the same documents, tokenizer, first weights, batch and optimizer for every side."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.step import time_peer, time_trainer
from benchmarks.text import english_documents
from benchmarks.work import Measured, Work
from trifold.objective.config import Causal, Masked
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer, train_tokenizer
from trifold.training import AdamW, DataChoice, Experiment, ModelChoice, Schedule, TokenizerChoice, Training
from trifold.training.prepare import prepare
from trifold.training.trainer import Trainer

__all__ = ["Pretraining", "Setting"]


@dataclass(frozen=True)
class Setting:
    """What every side starts from.

    Attributes:
        texts: the documents.
        tokenizer: trained on them.
        folder: the first weights and the tokenizer, as a Hugging Face folder.
        parameters: that a token is multiplied with.
    """

    texts: list[str]
    tokenizer: Tokenizer
    folder: Path
    parameters: int

    @cached_property
    def ids(self) -> list[int]:
        """All documents as one row of ids, each ended."""
        end = self.tokenizer.special.eos
        ends = [] if end is None else [end]
        return [int(one) for text in self.texts for one in [*self.tokenizer.encode(text).ids, *ends]]


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """A model, its objective, and the shape of a step.

    Attributes:
        preset, shape: the model; without its shape in a smoke test.
        vocabulary: words of the model.
        tokenizer: kind of tokenizer.
        objective: what is learned.
        length, rows: of a batch.
        steps, warm: how many, and how many of them are not timed.
        documents: how many are read.
        lr: learning rate of AdamW.
        head: share of the tokens that the vocabulary's product is needed for.
    """

    preset: str
    shape: Mapping[str, int]
    vocabulary: int
    tokenizer: Literal["wordpiece", "byte_bpe"]
    objective: Causal | Masked
    length: int
    rows: int
    steps: int
    warm: int = 3
    documents: int = 1500
    lr: float = 5e-4
    head: float = 1.0
    smoke: Mapping[str, int] = field(default_factory=lambda: {"length": 64, "rows": 4, "steps": 5})

    def size(self, work: Work) -> tuple[int, int, int]:
        """Length, rows and steps."""
        small = self.smoke
        return (small["length"], small["rows"], small["steps"]) if work.smoke else (self.length, self.rows, self.steps)

    @contextmanager
    def setting(self, work: Work) -> Iterator[Setting]:
        """Documents, tokenizer and weights, made anew from the same seed."""
        texts = list(islice(english_documents(work), work.pick(full=self.documents, smoke=40)))
        words = work.pick(full=min(self.vocabulary, 16_000), smoke=300)
        tokenizer = train_tokenizer(texts, kind=self.tokenizer, vocab_size=words)
        torch.manual_seed(0)
        shape = {} if work.smoke else dict(self.shape)
        vocabulary = tokenizer.vocab_size if work.smoke else self.vocabulary
        model = Transformer.from_preset(self.preset, size="tiny", vocab_size=vocabulary, dropout=0.0, **shape)
        matrix = model.embedding.tokens.weight.numel()
        looked_up = model.num_parameters() - sum(p.numel() for n, p in model.named_parameters() if "embedding." in n)
        with tempfile.TemporaryDirectory() as place:
            model.save_pretrained(place, tokenizer=tokenizer)
            del model  # no side is to carry it
            yield Setting(texts, tokenizer, Path(place), round(looked_up + self.head * matrix))

    def run_trifold(self, work: Work) -> Measured:
        """Through the same preparation as `trifold pretrain`."""
        length, rows, steps = self.size(work)
        with self.setting(work) as shared, tempfile.TemporaryDirectory() as out:
            path = Path(out) / "text.jsonl"
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in shared.texts), encoding="utf-8")
            folder = str(shared.folder)
            experiment = Experiment(
                model=ModelChoice(start=folder),
                tokenizer=TokenizerChoice(path=folder),
                data=DataChoice(paths=(str(path),), valid_fraction=0.0),
                objective=self.objective,
                training=Training(
                    steps=steps,
                    length=length,
                    batch_size=rows,
                    device=work.device,  # type: ignore[arg-type]
                    optimizer=AdamW(lr=self.lr, betas=(0.9, 0.999), weight_decay=0.0),
                    schedule=Schedule(kind="constant", warmup=0.0),
                ),
            )
            made = prepare(experiment, Path(out) / "run", lambda *_: None)
            trainer = Trainer(made.model, made.objective, made.train, experiment.training)
            return time_trainer(trainer, warm=self.warm, parameters=shared.parameters)

    def run_trainer(self, work: Work, *, half: bool = True) -> Measured:
        """The Trainer, over text joined and cut as its example scripts do; in bfloat16 with `half`, where it pays."""
        import transformers

        causal = isinstance(self.objective, Causal)
        kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
        length, rows, steps = self.size(work)
        with self.setting(work) as shared:
            model: Any = kind.from_pretrained(shared.folder)
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(shared.folder)
            half = half and work.precision == "bfloat16"
            options = {
                "max_steps": steps,
                "per_device_train_batch_size": rows,
                "learning_rate": self.lr,
                "bf16": half,
                "seed": 0,
            }
            ids = shared.ids
            cuts = [ids[at : at + length] for at in range(0, len(ids) - length, length)]
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
            collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=not causal, mlm_probability=0.15)
            return time_peer(
                model,
                [{"input_ids": cut} for cut in cuts],
                collate,
                work=work,
                warm=self.warm,
                parameters=shared.parameters,
                options=options,
            )
