"""Weights under other names: what does not fit is named, and is not taken."""

import pytest
import torch

from trifold.checkpoint import KeyMap
from trifold.checkpoint.key_map import Entry

WHOLE = torch.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (WHOLE, []),
        (WHOLE.half(), []),
        (WHOLE.long(), ["w torch.int64, floating point wanted"]),
        (WHOLE.bool(), ["w torch.bool, floating point wanted"]),
        (WHOLE.t(), ["w (2, 3), (3, 2) wanted"]),
    ],
)
def test_a_weight_of_another_shape_or_of_whole_numbers_is_named_and_not_taken(weight, said):
    shapes = {"a": torch.Size([1, 2]), "b": torch.Size([2, 2])}
    loaded = KeyMap((Entry("w", ("a", "b")),)).to_ours({"w": weight}, shapes)
    assert loaded.misshapen == said and loaded.missing == loaded.unexpected == loaded.differing == []
    wanted = {} if said else {"a": weight[:1], "b": weight[1:]}
    assert loaded.weights.keys() == wanted.keys()
    assert all(torch.equal(loaded.weights[name], wanted[name]) for name in wanted)
