"""What is saved here opens in transformers: no missing or unexpected key, the same logits; and damage is refused."""

import json
import math
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.bounds import LAYERS, assert_same_sums
from tests.parity.families import FAMILIES, PADDED_BY_1
from tests.parity.test_presets import make_batch, run_oracle
from tests.shapes import small_options
from trifold.errors import ConfigError, ModelFileError, TrifoldError
from trifold.presets import PRESETS
from trifold.presets.pretrained import Transformer

DIALS = {"vocab_size": 61, "num_layers": 3, "d_model": 32, "num_heads": 4, "dropout": 0.0}
GATED = {"head_size": 8, "d_ff": 40}
MORE = {"t5": {"head_size": 8}, "t5_v1_1": GATED, "mt5": GATED, "umt5": GATED, "modernbert": {"window": 6},
        "roberta": {"vocab_size": 61}}  # fmt: skip


def make(name: str) -> Transformer:
    torch.manual_seed(0)
    if PRESETS[name].small:
        overrides = {**small_options(name), "vocab_size": 61, "dropout": 0.0}
    else:
        overrides = {**DIALS, **({} if "t5" in name else {"max_length": 64}), **MORE.get(name, {})}
    model = Transformer.from_preset(name, size="tiny", **overrides).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    pad = int(name in PADDED_BY_1)
    model.special = {"pad": pad, "bos": 2 if pad else 1, "eos": 2}
    return model


@pytest.mark.parametrize("sharded", [False, True], ids=["single", "sharded"])
@pytest.mark.parametrize("name", PRESETS)
def test_transformers_opens_what_is_saved_with_the_same_logits(tmp_path: Path, name: str, sharded: bool) -> None:
    model = make(name)
    model.save_pretrained(tmp_path, shard_bytes=10_000 if sharded else 10**9)
    assert (tmp_path / "model.safetensors.index.json").exists() == sharded
    kind = getattr(transformers, model.preset.architecture)
    theirs, report = kind.from_pretrained(tmp_path, output_loading_info=True, attn_implementation="eager")
    assert {key: list(value) for key, value in report.items() if value} == {}
    batch = make_batch(name)
    wanted, _ = run_oracle(name, theirs.eval(), batch)
    main = batch.target_layout or batch.source_layout
    ours = model.head(model(batch))
    seen = main.documents > 0
    assert_same_sums(ours[seen], wanted[seen], terms=LAYERS * model.config.d_model)
    assert set(FAMILIES) >= {name}


@pytest.mark.parametrize("name", PRESETS)
def test_d11_save_load_save_is_the_same_to_the_byte(tmp_path: Path, name: str) -> None:
    make(name).save_pretrained(tmp_path / "a")
    Transformer.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    for file in ("config.json", "model.safetensors", "generation_config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("name", PRESETS)
def test_weights_lie_row_by_row_also_where_the_file_has_them_the_other_way(tmp_path: Path, name: str) -> None:
    """What reads bare memory, as the kernel for decoding does, would else read them in the wrong order."""
    make(name).save_pretrained(tmp_path)
    assert all(one.is_contiguous() for one in Transformer.from_pretrained(tmp_path).parameters())


def test_a_composition_of_ones_own_is_saved_and_loaded(tmp_path: Path) -> None:
    model = Transformer(make("gpt2").config)
    model.save_pretrained(tmp_path)
    again = Transformer.from_pretrained(tmp_path)
    assert again.config == model.config and again.preset is None
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "nan", "truncated", "outside", "no_weights"])
def test_d4_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    make("llama").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights, name = load_file(path), "model.layers.0.mlp.up_proj.weight"
    match damage:
        case "missing":
            del weights[name]
        case "extra":
            weights["model.surprise"] = torch.ones(2)
            name = "model.surprise"
        case "shape":
            weights[name] = weights[name][:-1]
        case "nan":
            weights[name] = weights[name] * math.nan
    save_file(weights, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage in ("outside", "no_weights"):
        path.unlink()
        if damage == "outside":
            index = {"weight_map": {name: "../../../etc/passwd"}}
            (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    names = {"truncated": "safetensors", "outside": "etc/passwd", "no_weights": "no model"}
    with pytest.raises(ModelFileError, match=names.get(damage, name)):
        Transformer.from_pretrained(tmp_path)


def test_d2_damaged_headers_give_one_kind_of_error(tmp_path: Path) -> None:
    make("gpt2").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    raw = path.read_bytes()
    dice = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(60):
        place, bit = int(torch.randint(0, 2000, (1,), generator=dice)), int(torch.randint(0, 8, (1,), generator=dice))
        changed = bytearray(raw)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        try:
            Transformer.from_pretrained(tmp_path)
        except TrifoldError:
            refused += 1
    assert refused > 40  # the rest are flips inside the metadata


BAD = {
    "n_layer": [10**9, 0, -1, "12", True, 1.5, math.nan, math.inf],
    "vocab_size": [2**40, 0, "many"],
    "n_embd": [-1, 0, 7],
    "layer_norm_epsilon": ["small", 0],
    "activation_function": ["__class__", 5],
    "auto_map": [{"AutoModel": "evil.Model"}],
    "model_type": ["nobody", 3],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in BAD.items() for value in values])
def test_d5_a_hostile_configuration_is_refused_by_field(tmp_path: Path, field: str, value: object) -> None:
    make("gpt2").save_pretrained(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**data, field: value}))
    with pytest.raises((ConfigError, ModelFileError)) as caught:
        Transformer.from_pretrained(tmp_path)
    assert "Traceback" not in str(caught.value)
