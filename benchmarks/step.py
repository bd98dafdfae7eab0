"""Timing of training steps, ours and the Hugging Face Trainer's, by the same rule.

The first steps are not counted (threads start, memory is fetched); the rest are timed as one. Tokens are real ones: those
that are not padding, on both sides of a pair.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from benchmarks.work import Measured, Work
from trifold.batch import Batch, Layout
from trifold.training import Trainer
from trifold.training.memory import keep_freed_memory
from trifold.training.step import Batches

__all__ = ["Counted", "count_matrices", "time_peer", "time_trainer", "training_flops"]


class Counted:
    """A stream of batches that counts the tokens it gives.

    Args:
        batches: where they come from.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches, self.tokens = batches, 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            self.tokens += sum(
                _real(tokens, layout)
                for tokens, layout in ((batch.source, batch.source_layout), (batch.target, batch.target_layout))
            )
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The place of the stream within."""
        return self.batches.state_dict()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go back to a place."""
        self.batches.load_state_dict(state)


def _real(tokens: Tensor | None, layout: Layout | None) -> int:
    if tokens is None or layout is None:
        return 0
    return tokens.numel() if layout.documents is None else int((layout.documents > 0).sum())


def time_trainer(trainer: Trainer, *, warm: int, parameters: int) -> Measured:
    """Run our trainer to its end.

    Args:
        trainer: with a number of steps.
        warm: how many of them are not counted.
        parameters: that each token is multiplied with.
    """
    keep_freed_memory()  # as the commands do
    counted = Counted(trainer.batches)
    trainer.batches = counted
    start, before, losses = time.perf_counter(), 0, []
    for step in trainer.steps():
        if step.step == warm:
            start, before = time.perf_counter(), counted.tokens
        losses.append(step.loss)
    tokens, seconds = counted.tokens - before, time.perf_counter() - start
    return Measured(
        amount=tokens,
        seconds=seconds,
        quality=statistics.mean(losses[len(losses) // 2 :]),
        flops=training_flops(parameters, tokens),
        note=f"{str(trainer.dtype).removeprefix('torch.')}, packed",
    )


def count_matrices(model: nn.Module, *, head: bool = False) -> int:
    """Weights that a token is multiplied with; those of the vocabulary only with `head`."""
    parts = ((name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear))
    return sum(part.weight.numel() for name, part in parts if head or not name.startswith("head."))


def training_flops(parameters: int, tokens: int) -> float:
    """Operations of forward and backward pass (Kaplan et al. 2020, section 2.1): two a weight and token, three times."""
    return 6.0 * parameters * tokens


def time_peer(
    model: Any,
    rows: Sequence[Mapping[str, Any]],
    collate: Callable[[list[Any]], Any],
    *,
    work: Work,
    warm: int,
    parameters: int,
    options: Mapping[str, Any],
    sequence_to_sequence: bool = False,
) -> Measured:
    """Run the Hugging Face Trainer for a number of steps.

    Args:
        model: of transformers.
        rows: examples as its data collator wants them.
        collate: the data collator.
        work: where to compute.
        warm: how many steps are not counted.
        parameters: that each token is multiplied with.
        options: of `TrainingArguments`: steps, batch size, learning rate, and so on.
        sequence_to_sequence: whether to use the variant for pairs.
    """
    import transformers

    prefix = "Seq2Seq" if sequence_to_sequence else ""
    kinds = getattr(transformers, f"{prefix}Trainer"), getattr(transformers, f"{prefix}TrainingArguments")
    clock, tokens = _clock(warm), [0]

    def counting(examples: list[Any]) -> Any:
        batch = collate(examples)
        tokens.append(tokens[-1] + _real_tokens(batch, with_labels=sequence_to_sequence))
        return batch

    with tempfile.TemporaryDirectory() as folder:
        arguments = kinds[1](
            output_dir=folder,
            report_to=[],
            logging_steps=1,
            save_strategy="no",
            use_cpu=work.device == "cpu",
            disable_tqdm=True,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            **options,
        )
        given = {"train_dataset": list(rows), "data_collator": counting, "callbacks": [clock]}
        trainer = kinds[0](model=model, args=arguments, **given)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    last = min(trainer.state.max_steps, len(tokens) - 1)
    amount = tokens[last] - tokens[warm]
    return Measured(
        amount=amount,
        seconds=clock.seconds,
        quality=statistics.mean(losses[len(losses) // 2 :]),
        flops=training_flops(parameters, amount),
        note="bfloat16" if options.get("bf16") else "float32",
    )


def _real_tokens(batch: Mapping[str, Any], *, with_labels: bool) -> int:
    """How many tokens of a batch are no padding."""
    mask = batch.get("attention_mask")
    read = batch["input_ids"].numel() if mask is None else int(mask.sum())
    return read + (int((batch["labels"] != -100).sum()) if with_labels else 0)


def _clock(warm: int) -> Any:
    """A callback that notes when the warm-up ended and when the training did."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        start = seconds = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args, control
            if state.global_step == warm:
                self.start = time.perf_counter()
            self.seconds = time.perf_counter() - self.start

    return Clock()
