"""Where attention starts."""

import pytest
import torch

from trifold.batch import Batch, Layout
from trifold.presets.pretrained import Transformer
from trifold.presets.states import attention_weights
from trifold.training.neighbours import BEFORE, BOTH_SIDES, attend_to_neighbours

LENGTH, VOCABULARY = 24, 300


def batch_for(model: Transformer) -> Batch:
    tokens = torch.randint(10, VOCABULARY, (4, LENGTH), generator=torch.Generator().manual_seed(1))
    layout = Layout.whole(4, LENGTH)
    sides = {
        "source": (tokens, layout) if model.encoder else (None, None),
        "target": (tokens, layout) if model.decoder else (None, None),
    }
    return Batch(sides["source"][0], sides["target"][0], sides["source"][1], sides["target"][1])


def looked_at(weights: torch.Tensor, distance: int) -> float:
    """How much each token looks at the one at a distance, on average over those that have one."""
    diagonal = weights.diagonal(offset=distance, dim1=-2, dim2=-1)
    return float(diagonal.detach().mean())


@pytest.mark.parametrize("preset", ["bert", "roberta", "electra", "distilbert", "gpt2", "bart", "t5", "mt5"])
def test_each_head_of_the_first_layer_starts_with_its_own_distance(preset):
    torch.manual_seed(0)
    model = Transformer.from_preset(preset, size="tiny", vocab_size=VOCABULARY, dropout=0.0)
    model.eval()
    batch = batch_for(model)
    before = attention_weights(model, batch)
    heads = attend_to_neighbours(model)
    after = attention_weights(model, batch)
    for stack, distances in (("encoder", BOTH_SIDES), ("decoder", BEFORE)):
        layers = getattr(after, stack)
        for head, distance in enumerate(distances if layers else ()):
            usual = looked_at(getattr(before, stack)[0][:, head], distance)
            assert looked_at(layers[0][:, head], distance) > max(0.4, 3 * usual), (stack, head)
    assert heads >= 4


@pytest.mark.parametrize("preset", ["llama", "modernbert", "albert", "vaswani"])
def test_other_positions_are_left_as_they_are(preset):
    torch.manual_seed(0)
    model = Transformer.from_preset(preset, size="tiny", vocab_size=VOCABULARY)
    kept = {name: value.clone() for name, value in model.state_dict().items() if "cross_attention" not in name}
    attend_to_neighbours(model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in kept.items())


def test_a_decoder_starts_by_looking_at_its_like_in_the_source():
    torch.manual_seed(0)
    model = Transformer.from_preset("t5", size="tiny", vocab_size=VOCABULARY, dropout=0.0).eval()
    attend_to_neighbours(model)
    cross = attention_weights(model, batch_for(model)).cross[0]  # the same tokens on both sides
    assert float(cross.detach().diagonal(dim1=-2, dim2=-1).mean()) > 3 / LENGTH


@pytest.mark.parametrize(("preset", "heads"), [("bert", 1), ("gpt2", 1), ("bert", 2)])
def test_tokens_keep_half_of_their_dimensions_at_least(preset, heads):
    model = Transformer.from_preset(preset, size="tiny", vocab_size=VOCABULARY, num_heads=heads)
    attend_to_neighbours(model)
    tokens = model.embedding.tokens.weight.detach()
    assert int((tokens.abs().sum(0) > 0).sum()) >= model.config.d_model // 2


@pytest.mark.parametrize(("buckets", "raised"), [(4, 0), (8, 4), (12, 8)])
def test_distances_without_a_bucket_of_their_own_are_left_out(buckets, raised):
    model = Transformer.from_preset("t5", size="tiny", vocab_size=VOCABULARY, num_buckets=buckets)
    kept = model.encoder.positions[0].table.weight.detach().clone()
    attend_to_neighbours(model)
    table = model.encoder.positions[0].table.weight.detach() - kept
    places = {int(place) for place in (table > 1).nonzero()[:, 0]}
    side = buckets // 2
    assert places <= {place for place in range(buckets) if 0 < place % side < side // 2}
    assert bool(places) == bool(raised)
