"""Pairs of sentences for the benchmarks of translation: the same data, first weights and batches for every side."""

import torch

from benchmarks.step import count_matrices
from benchmarks.text import Setting, records_of, sentence_pairs
from benchmarks.work import Work
from trifold.presets.pretrained import Transformer
from trifold.tasks import Translation
from trifold.tasks.build import build_task
from trifold.tasks.loader import ExampleLoader
from trifold.tasks.translation import TranslationTask
from trifold.text import Tokenizer, train_tokenizer
from trifold.training import AdamW, Muon, Schedule, Training
from trifold.training.config import Optimizer
from trifold.training.trainer import Trainer

__all__ = ["BEAMS", "LONGEST", "RATE", "ROWS", "WARM", "loader_of", "parameters_of", "setting", "task_of", "trainer_of"]

SHAPE = {"num_layers": 6, "d_model": 256, "num_heads": 4, "d_ff": 1024}
ROWS, RATE, WARM = 64, 3e-4, 3
BEAMS, LONGEST = 5, 64


def setting(work: Work, *, trained: bool) -> Setting:
    """The same for every side; a model that can translate a little is trained by the first side that needs it."""
    train = list(sentence_pairs(work, "train"))
    test = list(sentence_pairs(work, "test_2016_flickr"))[: work.pick(full=1000, smoke=8)]
    folder = work.place(f"translation_{'trained' if trained else 'random'}")
    if not (folder / "config.json").exists():
        tokenizer = train_tokenizer(
            [text for pair in train for text in pair],
            kind="byte_bpe",
            vocab_size=work.pick(full=8000, smoke=300),
            pad_last=True,
        )
        torch.manual_seed(0)
        shape = {} if work.smoke else SHAPE
        model = Transformer.from_preset(
            "vaswani",
            size="tiny",
            vocab_size=tokenizer.vocab_size,
            dropout=0.0,
            pad=tokenizer.special.pad,
            max_length=128,
            **shape,
        )
        if trained:
            fast = Muon(lr=5e-3, weight_decay=0.1, adamw=AdamW(lr=3e-3, weight_decay=0.0))
            loop = trainer_of(model, tokenizer, train, work, steps=work.pick(full=300, smoke=3), optimizer=fast)
            for _ in loop.steps():
                pass
        model.save_pretrained(folder, tokenizer=tokenizer)
    return Setting(train, test, Tokenizer.from_pretrained(folder), folder)


def trainer_of(
    model: Transformer,
    tokenizer: Tokenizer,
    pairs: list[tuple[str, str]],
    work: Work,
    *,
    steps: int,
    optimizer: Optimizer,
) -> Trainer:
    """The trainer and loader of `trifold finetune translation`."""
    task = task_of(model, tokenizer)
    loader = loader_of(task, pairs, work)
    training = Training(
        steps=steps,
        batch_size=loader.batch_size,
        optimizer=optimizer,
        device=work.device,  # type: ignore[arg-type]
        schedule=Schedule(kind="constant", warmup=0.0),
    )
    return Trainer(model, task, loader, training)


def loader_of(task: TranslationTask, pairs: list[tuple[str, str]], work: Work) -> ExampleLoader:
    """Batches of pairs, the same for every side that takes ours."""
    examples = task.examples(records_of(pairs, task, ("source", "target")))
    return ExampleLoader(examples, batch_size=work.pick(full=ROWS, smoke=8), pad=task.frame.pad, seed=0)


def task_of(model: Transformer, tokenizer: Tokenizer) -> TranslationTask:
    """Without label smoothing, which the peers' loss does not have."""
    task = build_task(Translation(beams=BEAMS, max_length=128, label_smoothing=0.0), tokenizer, model.config)
    assert isinstance(task, TranslationTask)
    return task


def parameters_of(model: torch.nn.Module) -> int:
    """Of the two sides a token goes through one: half of the weights, roughly."""
    return count_matrices(model, head=True) // 2
