"""Layers that share a block: one set of weights, wherever weights are counted, trained, adapted or written."""

from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.parity.families import ALBERT_LIKE, VOCAB
from trifold.errors import ConfigError
from trifold.model import config
from trifold.presets import PRESETS, build_config
from trifold.presets.pretrained import Transformer
from trifold.training.adapter import add_adapters, merge_adapters
from trifold.training.config import AdamW
from trifold.training.optimizer import build_optimizers
from trifold.training.plan import count_parameters

TOKENS = torch.randint(3, VOCAB, (2, 9), generator=torch.Generator().manual_seed(1))


def small(**overrides: object) -> Transformer:
    torch.manual_seed(0)
    wanted = {"vocab_size": VOCAB, "d_model": 32, "num_heads": 4, "embedding_size": 20, **overrides}
    return Transformer.from_preset("albert", size="tiny", **wanted)


def test_a_deeper_model_has_no_more_weights_and_each_is_counted_trained_and_written_once(tmp_path: Path) -> None:
    flat, deep = small(num_layers=1), small(num_layers=12)
    assert len(deep.encoder.blocks) == 12 and deep.encoder.blocks[0] is deep.encoder.blocks[11]
    assert flat.num_parameters() == deep.num_parameters() == count_parameters(deep.config).total
    assert f"Total params: {deep.num_parameters():,}" in deep.summary()
    trained = [one for optimizer in build_optimizers(AdamW(), dict(deep.named_parameters())) for group in
               optimizer.param_groups for one in group["params"]]  # fmt: skip
    assert len({id(one) for one in trained}) == len(trained) == len(list(flat.parameters()))
    deep.save_pretrained(tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    assert sum(value.numel() for value in names.values()) == deep.num_parameters()
    again = Transformer.from_pretrained(tmp_path)
    assert torch.equal(again.encode(TOKENS), deep.eval().encode(TOKENS))


@pytest.mark.parametrize(("layers", "groups", "inner"), [(5, 2, 1), (5, 3, 2), (12, 12, 1), (7, 5, 3)])
def test_each_layer_is_the_block_that_transformers_runs_there(
    tmp_path: Path, layers: int, groups: int, inner: int
) -> None:
    shape = {**ALBERT_LIKE, "num_hidden_layers": layers, "num_hidden_groups": groups, "inner_group_num": inner}
    theirs = transformers.AlbertForMaskedLM(transformers.AlbertConfig(**shape)).eval()
    theirs.save_pretrained(tmp_path)
    ours = Transformer.from_pretrained(tmp_path)
    torch.testing.assert_close(ours.head(ours.encode(TOKENS)), theirs(TOKENS).logits, rtol=1e-5, atol=1e-5)
    assert len(list(ours.encoder.blocks.children())) == groups * inner


def test_an_adapter_is_put_on_a_shared_block_once() -> None:
    model = small(num_layers=4, num_groups=2).eval()
    before = model.encode(TOKENS)
    found = add_adapters(model, ["q_proj"], rank=2, alpha=4.0)
    assert found == [f"encoder.blocks.{number}.attention.branch.q_proj" for number in (0, 2)]
    with torch.no_grad():
        for path in found:
            model.get_submodule(path).lora_b.normal_()
    adapted = model.encode(TOKENS)
    assert not torch.allclose(adapted, before)
    merge_adapters(model)
    torch.testing.assert_close(model.encode(TOKENS), adapted, rtol=1e-4, atol=1e-5)


def test_an_own_composition_with_shared_blocks_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = build_config("albert", size="tiny", overrides={"vocab_size": VOCAB, "d_model": 32, "num_layers": 3})
    model = Transformer(shape).eval()
    model.save_pretrained(tmp_path)
    again = Transformer.from_pretrained(tmp_path)
    assert again.encoder.blocks[0] is again.encoder.blocks[2]
    assert torch.equal(model.head(model.encode(TOKENS)), again.head(again.encode(TOKENS)))


def test_what_cannot_be_shared_or_narrowed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_hidden_groups.*num_layers"):
        PRESETS["albert"].read_options({"num_hidden_layers": 2, "num_hidden_groups": 3})
    block = build_config("albert", size="tiny").encoder
    with pytest.raises(ConfigError, match=r"head\.activation"):
        config.Transformer(vocab_size=9, d_model=8, embedding=config.Embedding(width=4), encoder=block)
