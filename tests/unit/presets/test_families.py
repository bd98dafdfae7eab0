"""What each family's file gives, and that the lists of families agree."""

import pickle
from dataclasses import replace

import pytest
import torch
import transformers

from tests.shapes import small_options
from trifold.cli import experiment
from trifold.errors import ConfigError
from trifold.presets import PRESETS, build_config
from trifold.presets.pretrained import Transformer
from trifold.training.plan import count_parameters


def test_every_family_has_the_name_that_the_list_gives_it():
    assert all(preset.name == name for name, preset in PRESETS.items())


@pytest.mark.parametrize("name", [name for name, one in PRESETS.items() if one.small])
def test_a_small_configuration_is_read_and_its_parameters_are_counted(name):
    family = PRESETS[name]
    options = family.read_options(family.small)
    model = Transformer(family.build(options), preset=family, options=options)
    assert count_parameters(model.config).total == model.num_parameters() < 20_000
    again = family.read_options(family.write_fields(options))
    assert family.build(again) == family.build(options)


@pytest.mark.parametrize("name", PRESETS)
def test_sizes_are_the_same_for_all_and_grow(name):
    assert set(experiment.SIZES) <= set(PRESETS[name].sizes)
    counts = [count_parameters(build_config(name, size=size)).total for size in experiment.SIZES]
    assert counts == sorted(counts)


@pytest.mark.parametrize("name", [name for name, one in PRESETS.items() if one.small])
def test_a_folder_in_bfloat16_is_written_back_to_the_bit(tmp_path, name):
    """Also where weights stand for themselves plus one, of which bfloat16 would keep fewer digits."""
    model = Transformer.from_preset(name, **small_options(name))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.01)
    model.bfloat16().save_pretrained(tmp_path / "a")
    Transformer.from_pretrained(tmp_path / "a", dtype=torch.bfloat16).save_pretrained(tmp_path / "b")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["qwen3", "gemma3_text"])
def test_biases_that_the_folder_cannot_say_are_refused(name):
    family = PRESETS[name]
    for overrides in ({"qkv_bias": True}, {"mlp_bias": True}):
        with pytest.raises(ConfigError, match="bias"):
            family.write_fields(family.choose("tiny", overrides))


@pytest.mark.parametrize(
    ("name", "overrides", "other"),
    [
        ("llama", {"window": 8}, "mistral"),
        ("llama", {"qkv_bias": True}, "qwen2"),
        ("bert", {"offset": 2, "head_activation": "gelu"}, "roberta"),
    ],
)
def test_what_a_class_holds_to_one_value_is_refused_with_the_preset_that_has_it(name, overrides, other):
    with pytest.raises(ConfigError, match=rf"preset {other}\b"):
        PRESETS[name].write_fields(PRESETS[name].choose("tiny", overrides))
    written = PRESETS[other].write_fields(PRESETS[other].choose("tiny", overrides))
    assert written["vocab_size"] == PRESETS[other].choose("tiny", {}).vocab_size


@pytest.mark.parametrize(
    ("name", "whole", "own"),
    [
        ("gpt2", "resid_pdrop", "attn_pdrop"),
        ("bert", "hidden_dropout_prob", "attention_probs_dropout_prob"),
        ("albert", "hidden_dropout_prob", "attention_probs_dropout_prob"),
        ("distilbert", "dropout", "attention_dropout"),
        ("modernbert", "embedding_dropout", "attention_dropout"),
    ],
)
def test_a_dropout_of_attention_alone_is_read_used_and_written(name, whole, own):
    family = PRESETS[name]
    plain = family.write_fields(family.choose("tiny", {"dropout": 0.2}))
    assert plain[own] == plain[whole] == 0.2 and family.read_options(plain).attention_dropout is None
    options = family.read_options({**plain, own: 0.0})
    block = family.build(options).main.blocks[0]
    assert (block.attention.dropout, block.feed_forward.residual.dropout) == (0.0, 0.2)
    assert family.write_fields(options)[own] == 0.0
    with pytest.raises(ConfigError, match=own):
        family.read_options({**plain, own: 1.5})


def test_a_gate_with_the_exact_gelu_has_a_name_of_its_own_in_t5():
    """Published files say gated-gelu for the approximate one."""
    options = PRESETS["t5"].choose("tiny", {"gated": True, "activation": "gelu"})
    written = PRESETS["t5"].write_fields(options)
    assert transformers.T5Config(**written).dense_act_fn == "gelu_python"
    again = PRESETS["t5"].read_options(written)
    assert (again.gated, again.activation) == (True, "gelu")


@pytest.mark.parametrize("name", PRESETS)
def test_a_family_goes_to_another_process_and_back(name):
    assert pickle.loads(pickle.dumps(PRESETS[name])).name == name  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("name", "table", "head"),
    [
        ("bert", "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
        ("electra", "electra.embeddings.word_embeddings.weight", "generator_lm_head.weight"),
        ("gpt2", "transformer.wte.weight", "lm_head.weight"),
        ("modernbert", "model.embeddings.tok_embeddings.weight", "decoder.weight"),
        ("t5", "shared.weight", "lm_head.weight"),
        ("mbart", "model.shared.weight", "lm_head.weight"),
    ],
)
def test_a_head_in_the_file_that_is_not_the_embedding_is_its_own(name, table, head):
    family, weight = PRESETS[name], torch.ones(2, 2)
    options = family.choose("tiny", {})
    assert family.settle(options, {table: weight, head: weight.clone()}) == options
    assert family.settle(options, {table: weight}) == options
    assert family.settle(options, {table: weight, head: 2 * weight}) == replace(options, tied=False)
