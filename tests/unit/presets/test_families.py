"""What each family's file gives, and that the lists of families agree."""

import pytest

from trifold.cli import experiment
from trifold.presets import PRESETS, build_config
from trifold.presets.pretrained import Transformer
from trifold.training.plan import count_parameters


def test_the_command_line_knows_every_family():
    assert sorted(experiment.PRESETS) == sorted(PRESETS)


@pytest.mark.parametrize("name", [name for name, one in PRESETS.items() if one.small])
def test_a_small_configuration_is_read_and_its_parameters_are_counted(name):
    family = PRESETS[name]
    dials = family.read_dials(family.small)
    model = Transformer(family.build(dials), preset=family, dials=dials)
    assert count_parameters(model.config).total == model.num_parameters() < 20_000
    again = family.read_dials(family.write_fields(dials))
    assert family.build(again) == family.build(dials)


@pytest.mark.parametrize("name", PRESETS)
def test_sizes_are_the_same_for_all_and_grow(name):
    assert set(experiment.SIZES) <= set(PRESETS[name].sizes)
    counts = [count_parameters(build_config(name, size=size)).total for size in experiment.SIZES]
    assert counts == sorted(counts)
