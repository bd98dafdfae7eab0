"""LoRA: nothing changes at the start, merged is unmerged, the base does not move."""

import copy

import pytest
import torch

from tests.shapes import SHAPES, build, tokens
from trifold.batch import Batch, Layout
from trifold.errors import ConfigError
from trifold.training.adapter import add_adapters, merge_adapters
from trifold.training.config import AdamW
from trifold.training.optimizer import build_optimizers, layer_factors

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj")


def hidden(model) -> torch.Tensor:
    ids, layout = tokens(2, 9), Layout.whole(2, 9)
    source = {"source": ids, "source_layout": layout} if model.encoder is not None else {}
    target = {"target": ids, "target_layout": layout} if model.decoder is not None else {}
    return model(Batch(**source, **target))


@pytest.mark.parametrize("name", SHAPES)
def test_g11_merged_is_unmerged_to_1e_12(name):
    model = build(name)
    before = hidden(model)
    paths = add_adapters(model, TARGETS, rank=3, alpha=6.0)
    assert len(paths) > 4
    torch.testing.assert_close(hidden(model), before, rtol=0, atol=1e-12)
    for key, value in model.named_parameters():
        assert value.requires_grad == key.endswith((".lora_a", ".lora_b"))
        if value.requires_grad:
            torch.nn.init.normal_(value, std=0.1)
    adapted = hidden(model)
    assert not torch.allclose(adapted, before)
    merge_adapters(model)
    torch.testing.assert_close(hidden(model), adapted, rtol=0, atol=1e-12)
    assert all(value.requires_grad for value in model.parameters())
    assert not any("lora" in key for key, _ in model.named_parameters())


def test_adapters_move_and_the_base_does_not():
    model = build("decoder_pre_learned")
    base = copy.deepcopy(model.state_dict())
    add_adapters(model, ("q_proj",), rank=2, alpha=4.0)
    optimizers = build_optimizers(AdamW(lr=0.1), dict(model.named_parameters()))
    hidden(model).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in base.items())
    assert any(value.abs().sum() > 0 for key, value in after.items() if key.endswith(".lora_b"))


def test_a_name_that_no_layer_has_is_refused():
    with pytest.raises(ConfigError, match="query"):
        add_adapters(build("decoder_pre_learned"), ("query",), rank=2, alpha=4.0)


def test_lower_layers_learn_more_slowly():
    model = build("decoder_pre_learned")
    named = dict(model.named_parameters())
    factors = layer_factors(named, 0.5)
    (optimizer,) = build_optimizers(AdamW(lr=1.0), named, layer_decay=0.5)
    rates = {id(value): group["lr"] for group in optimizer.param_groups for value in group["params"]}
    assert all(rates[id(value)] == factors[name] for name, value in named.items())
    assert factors["decoder.blocks.0.attention.branch.q_proj.weight"] == 0.25
    assert factors["embedding.tokens.weight"] == 0.125 and factors["decoder.final_norm.weight"] == 1.0
