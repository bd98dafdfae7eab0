"""Masked pre-training of a small encoder: BERT mini, 128 tokens, AdamW."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from trifold.benchmark.step import time_peer, time_trainer
from trifold.benchmark.text import english_documents
from trifold.benchmark.work import Benchmark, Measured, Side, Work
from trifold.objective.config import Masked
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer, train_tokenizer
from trifold.training import AdamW, DataChoice, Experiment, ModelChoice, Schedule, TokenizerChoice, Training
from trifold.training.prepare import prepare
from trifold.training.trainer import Trainer

__all__ = ["BENCHMARK"]

LENGTH, ROWS, RATE, WARM = 128, 32, 5e-4, 3


@dataclass(frozen=True, slots=True)
class Setting:
    """What both sides start from: documents, a tokenizer, and one model as a Hugging Face folder."""

    texts: list[str]
    tokenizer: Tokenizer
    folder: Path
    parameters: int


@contextmanager
def setting(work: Work) -> Iterator[Setting]:
    """The same documents, tokenizer and first weights for every side."""
    texts = list(islice(english_documents(work), work.pick(full=1500, smoke=40)))
    tokenizer = train_tokenizer(texts, kind="wordpiece", vocab_size=work.pick(full=30522, smoke=300), lowercase=True)
    torch.manual_seed(0)
    shape = {"num_layers": 4, "d_model": 256, "num_heads": 4} if not work.smoke else {}
    model = Transformer.from_preset("bert", size="tiny", vocab_size=tokenizer.vocab_size, **shape)
    embedding = model.embedding.tokens.weight.numel()
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place, tokenizer=tokenizer)
        # of the vocabulary, only the hidden tokens need the product
        yield Setting(texts, tokenizer, Path(place), round(model.num_parameters() - 0.85 * embedding))


def run_trifold(work: Work) -> Measured:
    """Through the same preparation as `trifold pretrain`."""
    with setting(work) as shared, tempfile.TemporaryDirectory() as out:
        path = Path(out) / "text.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in shared.texts), encoding="utf-8")
        folder = str(shared.folder)
        experiment = Experiment(
            model=ModelChoice(start=folder),
            tokenizer=TokenizerChoice(path=folder),
            data=DataChoice(paths=(str(path),), valid_fraction=0.0),
            objective=Masked(),
            training=Training(
                steps=work.pick(full=23, smoke=5), length=LENGTH, batch_size=ROWS, device=work.device,  # type: ignore[arg-type]
                optimizer=AdamW(lr=RATE, betas=(0.9, 0.999), weight_decay=0.0), schedule=Schedule(kind="constant"),
            ),
        )  # fmt: skip
        made = prepare(experiment, Path(out) / "run", lambda *_: None)
        trainer = Trainer(made.model, made.objective, made.train, experiment.training)
        return time_trainer(trainer, warm=WARM, parameters=shared.parameters)


def run_trainer(work: Work) -> Measured:
    """The Trainer with its collator, over text joined and cut as its example script does."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer, DataCollatorForLanguageModeling

    from trifold.training.precision import choose_device, choose_dtype

    with setting(work) as shared:
        tokenizer, model = (kind.from_pretrained(shared.folder) for kind in (AutoTokenizer, AutoModelForMaskedLM))
        half = choose_dtype("auto", choose_device(work.device)) == torch.bfloat16  # type: ignore[arg-type]
        steps = work.pick(full=23, smoke=5)
        options: dict[str, Any] = {
            "max_steps": steps, "per_device_train_batch_size": ROWS, "learning_rate": RATE, "bf16": half, "seed": 0,
        }  # fmt: skip
        joined = [token for ids in tokenizer(shared.texts)["input_ids"] for token in ids]
        starts = range(0, len(joined) - LENGTH, LENGTH)
        rows = [{"input_ids": joined[at : at + LENGTH], "attention_mask": [1] * LENGTH} for at in starts]
        collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        return time_peer(
            model, rows, collate, work=work, warm=WARM, parameters=shared.parameters, options=options
        )


BENCHMARK = Benchmark(
    name="masked",
    title="masked pre-training, BERT of 4 layers, 256 wide, 30,522 words, 32 rows of 128",
    unit="tokens",
    quality="loss",
    sides=(
        Side(name="trifold", run=run_trifold),
        Side(name="transformers Trainer", run=run_trainer, needs=("transformers", "accelerate"), bar=3.0),
    ),
)
