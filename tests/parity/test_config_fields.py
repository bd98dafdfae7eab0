"""Each field of each family's configuration, changed: the model opens equal to transformers', or is refused by name."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from trifold.doctor.family import examine_family
from trifold.presets import PRESETS
from trifold.presets.pretrained import Transformer


@pytest.mark.parametrize("name", PRESETS)
def test_no_changed_field_is_silently_different(tmp_path: Path, name: str) -> None:
    outcomes = list(examine_family(name, tmp_path))
    assert outcomes[0].kind == "equal", outcomes[0]
    assert [one for one in outcomes if one.kind not in ("equal", "refused", "skipped")] == []
    assert sum(one.kind == "equal" for one in outcomes) > len(outcomes) / 3  # else the examination itself is broken


@pytest.mark.parametrize("name", PRESETS)
def test_each_field_of_their_class_is_known_with_its_default(name: str) -> None:
    """A field of a later transformers is to be sorted: read, held to a value, or without influence."""
    kind = getattr(transformers, PRESETS[name].architecture).config_class
    theirs, fields = kind().to_dict(), PRESETS[name].fields
    assert theirs.keys() - fields.known - fields.aliases.keys() == set()
    derived = ("head_dim", "layer_types", "num_decoder_layers", "num_key_value_heads", "rope_parameters",
               "scale_decoder_outputs", "dense_act_fn", "is_gated_act", "sliding_window")  # fmt: skip
    wrong = {field: (theirs[field], value) for field, value in fields.defaults.items()
             if field in theirs and field not in derived and theirs[field] != value}  # fmt: skip
    assert wrong == {}


@pytest.mark.parametrize("field", ["hidden_act", "num_hidden_layers", "max_position_embeddings", "layer_norm_eps"])
def test_a_refusal_names_the_field_as_the_file_has_it(field: str) -> None:
    with pytest.raises(Exception, match=field):
        PRESETS["bert"].read_options({field: "nothing that is known"})


def test_gemma_folders_of_before_rope_parameters_open_equal(tmp_path: Path) -> None:
    """With a pattern instead of a list of layers, and two bases instead of mappings, one of them scaled."""
    gone = ("rope_parameters", "layer_types")
    old = {name: value for name, value in PRESETS["gemma3_text"].small.items() if name not in gone}
    old |= {"rope_theta": 90.0, "rope_local_base_freq": 20.0, "sliding_window_pattern": 2, "num_hidden_layers": 4,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**old))
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    theirs.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3_text", **old}))
    ours, ids = Transformer.from_pretrained(tmp_path), torch.arange(3, 23)[None]
    assert [block.attention.window for block in ours.config.main.blocks] == [3, None, 3, None]
    torch.testing.assert_close(ours.head(ours.decode(ids)), theirs(ids).logits, atol=1e-5, rtol=1e-5)
