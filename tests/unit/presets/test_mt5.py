"""mT5 and umT5: published sizes, positions of each layer, and an output that is not scaled."""

import pytest

from trifold.errors import ConfigError
from trifold.presets import PRESETS, build_config
from trifold.presets.pretrained import Transformer
from trifold.training.plan import count_parameters


@pytest.mark.parametrize(
    ("name", "vocabulary", "parameters"), [("mt5", 250_112, 300_176_768), ("umt5", 256_384, 306_601_984)]
)
def test_the_small_size_is_the_published_one(name: str, vocabulary: int, parameters: int) -> None:
    assert count_parameters(build_config(name, size="small", overrides={"vocab_size": vocabulary})).total == parameters


def test_each_layer_of_umt5_has_positions_of_its_own() -> None:
    found = {
        name: Transformer(build_config(name, size="tiny", overrides={"vocab_size": 8})) for name in ("mt5", "umt5")
    }
    assert [len(found["mt5"].encoder.positions), len(found["mt5"].decoder.positions)] == [1, 1]
    assert [len(found["umt5"].encoder.positions), len(found["umt5"].decoder.positions)] == [3, 3]
    assert found["umt5"].encoder.position_of == [0, 1, 2]


def test_a_scaled_output_is_refused_where_the_class_knows_none() -> None:
    with pytest.raises(ConfigError, match="scale_output"):
        Transformer.from_preset("mt5", size="tiny", vocab_size=8, scale_output=True)
    assert Transformer.from_preset("umt5", size="tiny", vocab_size=8, scale_output=True).config.head.scale < 1
    assert not PRESETS["mt5"].read_options({"model_type": "mt5", "tie_word_embeddings": True}).scaled
