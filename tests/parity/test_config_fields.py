"""Each field of each family's configuration, changed: the model opens equal to transformers', or is refused by name."""

from pathlib import Path

import pytest
import transformers

from trifold.doctor.family import examine_family
from trifold.presets import PRESETS


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
        PRESETS["bert"].read_dials({field: "nothing that is known"})
