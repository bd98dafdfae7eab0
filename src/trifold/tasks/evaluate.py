"""How good a model is, on what a program holds: the judgement that `trifold evaluate` gives of files."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trifold.data import Example
from trifold.errors import DataError, UsageError
from trifold.evaluation.language_model import evaluate_examples, objective_of, trained_length
from trifold.task_kinds import ALIASES
from trifold.tasks.loaded import Input, LoadedModel, load
from trifold.tasks.trained_columns import listed

__all__ = ["evaluate"]


def evaluate(
    model: LoadedModel | str | Path,
    inputs: Sequence[Input],
    labels: Sequence[Any] | None = None,
    *,
    task: str | None = None,
    train: Sequence[Input] = (),
    train_labels: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """How well a model does its task on examples, or, of one that was only pre-trained, how well it knows texts.

    Args:
        model: a loaded one, or where it is.
        inputs: texts, pairs of texts, rows or records; without `labels`, rows that have a column of labels, or records
            with gold answers. Of a model that was only pre-trained, texts.
        labels: what the model should say, one an input.
        task: what it must have been fine-tuned for, such as `classification`; None: whatever it is for.
        train: what it was trained with, for baselines beside it and for the search for test texts in training.
        train_labels: of `train`, where it has none of its own.

    Returns:
        Metrics with intervals, baselines, calibration and the worst errors, as JSON data; of a pre-trained model the loss,
        bits per byte and perplexities.

    Raises:
        UsageError: the model is for another task, or the labels do not match the inputs.
        DataError: there is nothing to judge, or a label is missing or none of the model's.

    Example:
        >>> import tempfile
        >>> from trifold.presets.pretrained import Transformer
        >>> from trifold.text import train_tokenizer
        >>> tokenizer = train_tokenizer(["to be or not to be"] * 9, kind="byte_bpe", vocab_size=300)
        >>> model = Transformer.from_preset("gpt2", size="tiny", vocab_size=tokenizer.vocab_size)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save_pretrained(folder, tokenizer=tokenizer)
        ...     scores = evaluate(folder, ["to be or not to be"])
        >>> scores["objective"], scores["words"]
        ('causal', 6)
    """
    loaded = model if isinstance(model, LoadedModel) else load(model)
    if task is not None:
        loaded.require(ALIASES.get(task, task))
    if loaded.task is not None:
        return loaded.evaluate(inputs, labels, train=train, train_labels=train_labels)
    entries = listed(inputs, "inputs")
    texts = [text for text in entries if isinstance(text, str)]
    if labels is not None or len(texts) < len(entries):
        raise UsageError("task.texts_alone", path=loaded.folder)
    if not any(text.strip() for text in texts):
        raise DataError("task.no_inputs")
    examples = [Example((text,), f"input:{number}") for number, text in enumerate(texts, 1)]
    evaluation = evaluate_examples(
        loaded.model,
        loaded.tokenizer,
        examples,
        objective=objective_of(loaded.folder, loaded.model),
        length=trained_length(loaded.folder, loaded.model),
    )
    return asdict(evaluation)
