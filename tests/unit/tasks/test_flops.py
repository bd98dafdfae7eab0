"""The operations that a fine-tuning run says it has done."""

import pytest

from trifold.presets.pretrained import Transformer
from trifold.tasks.classification import Classification
from trifold.tasks.finetune import _multiplied
from trifold.text import train_tokenizer

TOKENIZER = train_tokenizer(["a b c"] * 9, kind="character", vocab_size=128)


@pytest.mark.parametrize("preset", ["bert", "albert"])
def test_every_layer_counts_also_where_layers_share_their_weights(preset):
    def multiplied(num_layers: int) -> int:
        model = Transformer.from_preset(preset, size="tiny", vocab_size=128, num_layers=num_layers)
        return _multiplied(model, Classification(labels=("a", "b")).build(TOKENIZER, model.config))

    one, two, three = map(multiplied, (1, 2, 3))
    assert three - two == two - one > 0
