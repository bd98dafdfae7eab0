"""Which metric chooses the weights of a run."""

import pytest

from trifold.errors import ConfigError
from trifold.presets.pretrained import Transformer
from trifold.tasks import Classification, Embedding, Generation, Tagging, Translation, build_task
from trifold.tasks.choice import choose_metric, lower_is_better
from trifold.text import train_tokenizer
from trifold.training.best import Choice

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
