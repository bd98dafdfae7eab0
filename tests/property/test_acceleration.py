"""Faster twins: the same values at every part, hooks and stand-ins called, and out again in one call."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from trifold.acceleration import TWINS, accelerate, decelerate
from trifold.batch import Batch, Layout
from trifold.generation.decoding import Decoding
from trifold.generation.precision import lower_precision
from trifold.model import Transformer
from trifold.native import load_products
from trifold.presets import PRESETS
from trifold.presets.pretrained import Transformer as Pretrained

SMALL = {"num_layers": 2, "d_model": 32, "num_heads": 2, "vocab_size": 50, "dropout": 0.0}
NEAR = {torch.bfloat16: 3e-2, torch.float32: 1e-5}


def family(preset: str, dtype: torch.dtype = torch.bfloat16) -> Pretrained:
    torch.manual_seed(0)
    return Pretrained.from_preset(preset, size="tiny", **SMALL).to(dtype)


def batch_of(model: Transformer) -> Batch:
    """Two rows, one padded, for each side that the model has."""
    ids = torch.randint(4, 50, (2, 24), generator=torch.Generator().manual_seed(1))
    layout = Layout.padded(torch.tensor([24, 17]))
    sides = {"source": ids, "source_layout": layout} if model.encoder is not None else {}
    return Batch(**sides, **({"target": ids, "target_layout": layout} if model.decoder is not None else {}))


def distance(one: Tensor, other: Tensor) -> float:
    return float(
        (one.detach().double() - other.detach().double()).norm() / other.detach().double().norm().clamp(min=1e-6)
    )


def heard(model: nn.Module, names: list[str], run) -> dict[str, list[Tensor]]:
    """What forward hooks on some modules get to see, in one run."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [model.get_submodule(name).register_forward_hook(lambda *given, name=name: found[name].append(given[2]))
               for name in names]  # fmt: skip
    run(model)
    for handle in handles:
        handle.remove()
    flat = {name: [torch.cat([part.flatten() for part in one]) if isinstance(one, tuple) else one for one in values]
            for name, values in found.items()}  # fmt: skip
    return {name: [one for one in values if isinstance(one, Tensor)] for name, values in flat.items()}


def compare(fast: nn.Module, plain: nn.Module, names: list[str], run, near: float) -> int:
    """Hook each module of the fast model alone, since one hook may change the way of others; how many values there were."""
    wanted = heard(plain, names, run)
    for name in names:
        one, other = heard(fast, [name], run)[name], wanted[name]
        assert len(one) == len(other), name
        for left, right in zip(one, other, strict=True):
            assert distance(left, right) < near, name
    return sum(map(len, wanted.values()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_hook_on_any_module_hears_the_same_with_and_without(preset, dtype):
    fast = family(preset, dtype)
    plain = decelerate(copy.deepcopy(fast))
    batch = batch_of(fast)
    for training in (True, False):
        fast.train(training), plain.train(training)

        def run(model: Transformer, *, training: bool = training) -> None:
            with torch.set_grad_enabled(training):
                model.head(model(batch))

        names = [name for name, _ in fast.named_modules() if name]
        assert names == [name for name, _ in plain.named_modules() if name]
        assert compare(fast, plain, names, run, NEAR[dtype]) > 20


@pytest.mark.parametrize("preset", ["bert", "gpt2", "llama", "qwen3", "gemma3_text", "t5", "vaswani"])
def test_gradients_are_the_same_with_and_without_and_with_hooks_everywhere(preset):
    fast = family(preset)
    found = []
    for kind in ("fast", "hooked", "plain"):
        model = copy.deepcopy(fast)
        if kind == "plain":
            decelerate(model)
        if kind == "hooked":
            for module in model.modules():
                module.register_forward_hook(lambda *_: None)
        model.head(model(batch_of(model))).float().square().sum().backward()
        found.append(torch.cat([one.grad.flatten().float() for one in model.parameters() if one.grad is not None]))
    assert distance(found[0], found[2]) < 0.05 > distance(found[1], found[2])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("preset", ["gpt2", "llama", "qwen3", "gemma3_text"])
def test_hooks_hear_the_same_while_a_token_is_decoded(preset, precision):
    plain = decelerate(family(preset, torch.float32)).eval()
    fast = lower_precision(copy.deepcopy(accelerate(plain)), precision, decoding=True)
    decelerate(plain).to(torch.bfloat16 if precision == "bfloat16" else torch.float32)

    def run(model: Transformer) -> None:
        decoding = Decoding(model, [[5, 6, 7]])
        decoding.start()
        decoding.step(torch.tensor([8]))

    names = [name for name, _ in plain.named_modules() if ".blocks." in name and "positions" not in name]
    assert compare(fast, plain, names, run, NEAR[torch.bfloat16]) == 2 * len(names) > 40


def test_what_stands_in_for_a_part_is_called_and_keeps_its_class():
    class Loud(nn.Linear):
        calls = 0

        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            Loud.calls += 1
            return super().forward(input)

    model = decelerate(family("gpt2"))
    block = model.decoder.blocks[0]
    for owner, name in ((block.attention.branch, "q_proj"), (block.attention.branch, "o_proj"),
                        (block.feed_forward.branch, "up_proj"), (block.feed_forward.branch, "down_proj")):  # fmt: skip
        other = Loud(getattr(owner, name).in_features, getattr(owner, name).out_features).to(torch.bfloat16)
        other.load_state_dict(getattr(owner, name).state_dict())
        setattr(owner, name, other)
    plain = model(batch_of(model))
    calls, Loud.calls = Loud.calls, 0
    assert distance(accelerate(model)(batch_of(model)), plain) < NEAR[torch.bfloat16]
    assert Loud.calls == calls == 4 and type(block.attention.branch.q_proj) is Loud
    own = block.feed_forward.branch.activation
    block.feed_forward.branch.activation = nn.Sequential(own, nn.Identity())
    block.feed_forward.dropout = nn.Identity()
    assert distance(model(batch_of(model)), plain) < NEAR[torch.bfloat16]


def test_twins_come_and_go_with_the_same_parameters_names_and_hooks():
    model = family("bert")
    names, numbers = list(model.state_dict()), [id(one) for one in model.parameters()]
    heard_calls: list[int] = []
    model.encoder.blocks[0].attention.branch.register_forward_hook(lambda *_: heard_calls.append(1))
    assert {type(one) for one in model.modules()} & set(TWINS.values())
    decelerate(model)
    assert not {type(one) for one in model.modules()} & set(TWINS.values())
    accelerate(model)
    assert list(model.state_dict()) == names and [id(one) for one in model.parameters()] == numbers
    model(batch_of(model))
    assert heard_calls == [1]
    again = pickle.loads(pickle.dumps(family("llama")))  # noqa: S301 - our own
    assert torch.equal(again.head.output.weight, family("llama").head.output.weight)


@pytest.mark.skipif(load_products() is None, reason="no compiler, or a processor without bfloat16")
def test_without_hooks_the_kernels_do_the_work(monkeypatch):
    from trifold import native

    calls, real = [], native.multiply
    monkeypatch.setattr(native, "multiply", lambda *a, **k: calls.append(len(a) - 1) or real(*a, **k))
    model = family("llama")
    model(batch_of(model))
    assert sorted(calls) == [1, 1, 1, 1, 2, 2, 3, 3]  # in each block: o, down; up and gate; q, k and v
