"""Which weights of a run are kept."""

from types import SimpleNamespace

import pytest
import torch

from trifold.errors import ConfigError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Classification, Embedding, Generation, Tagging, Translation, build_task
from trifold.tasks.best import Best, Choice, choose_metric, lower_is_better
from trifold.text import train_tokenizer
from trifold.training import Trainer, Training
from trifold.training.held_out import Evaluation


class StoodStill(Trainer):
    """A trainer at a step, with one number for weights."""

    def __init__(self, step: int) -> None:
        self.step, self.training = step, Training(steps=9, evaluate_every=1)
        self.weights = SimpleNamespace(exact={"w": torch.zeros(1)}, refresh=lambda: None)  # type: ignore[assignment]


def train_through(folder, found: list[tuple[float, float]], *, higher: bool, start: int = 0, patience: int = 0) -> Best:
    """A run whose weights are the number of the step, with an evaluation (metric, loss) at each."""
    trainer = StoodStill(start)
    best = Best(folder, trainer, choice=Choice("metric", higher=higher), patience=patience)
    for metric, loss in found:
        trainer.step += 1
        trainer.weights.exact["w"].fill_(trainer.step)
        best.consider(Evaluation(loss, None, 1, 0, metric))
    return best


@pytest.mark.parametrize(
    ("found", "higher", "kept"),
    [
        ([(0.0, 3.0), (0.0, 2.0), (0.0, 1.0)], True, 3),
        ([(0.0, 3.0), (0.0, 1.0), (0.0, 2.0)], True, 2),
        ([(0.5, 1.0), (0.4, 0.1), (0.5, 2.0)], True, 1),
        ([(0.5, 1.0), (0.6, 9.0)], True, 2),
        ([(2.0, 2.0), (2.0, 1.0), (1.0, 9.0)], False, 3),
    ],
)
def test_the_metric_chooses_and_among_equals_the_lower_loss(tmp_path, found, higher, kept):
    best = train_through(tmp_path, found, higher=higher)
    best.restore()
    assert best.trainer.weights.exact["w"].item() == kept


def test_a_run_that_goes_on_knows_the_metric_and_the_loss(tmp_path):
    train_through(tmp_path, [(0.0, 3.0), (0.0, 1.0)], higher=True)
    best = train_through(tmp_path, [(0.0, 2.0), (0.0, 0.5)], higher=True, start=2)
    assert (best.metric, best.loss) == (0.0, 0.5)
    assert best.path is not None and best.path.stem.endswith("4")


def test_patience_counts_evaluations_that_are_no_better_in_metric_nor_loss(tmp_path):
    best = train_through(tmp_path, [(0.0, 3.0), (0.0, 2.0)], higher=True, patience=1)
    assert not best.consider(Evaluation(1.0, None, 1, 0, 0.0)).enough
    assert best.consider(Evaluation(1.0, None, 1, 0, 0.0)).enough


TOKENIZER = train_tokenizer(["a b c"] * 9, kind="byte_bpe", vocab_size=270)
CHOICES = {
    "accuracy": (Classification(labels=("x", "y")), None, True),
    "macro_f1": (Classification(labels=("x", "y")), "macro_f1", True),
    "micro_f1": (Classification(labels=("x", "y"), multi_label=True), None, True),
    "tag_accuracy": (Tagging(labels=("B-X", "O")), "tag_accuracy", True),
    "entity_f1": (Tagging(labels=("B-X", "O")), None, True),
    "loss": (Translation(), None, False),
    "chrf": (Translation(), "chrf", True),
    "bits_per_byte": (Generation(), None, False),
    "reciprocal_rank": (Embedding(), None, True),
}


@pytest.mark.parametrize("name", CHOICES)
def test_each_task_chooses_by_its_first_metric_or_by_the_named(name):
    config, wanted, higher = CHOICES[name]
    preset = "vaswani" if name in ("loss", "chrf") else "gpt2"
    model = Transformer.from_preset(preset, size="tiny", vocab_size=TOKENIZER.vocab_size, num_layers=1)
    task = build_task(config, TOKENIZER, model.config)
    assert choose_metric(task, wanted) == Choice(name, higher=higher)
    assert choose_metric(task, "loss") == Choice("loss", higher=False)
    assert lower_is_better(task.default_metric) == config.less_is_better
    with pytest.raises(ConfigError, match=rf"(?s)'?rouge'?.*{task.metrics[0]}"):
        choose_metric(task, "rouge")
