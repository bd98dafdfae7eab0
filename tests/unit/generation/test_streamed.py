"""A block in one call: the numbers of the plain block, for every shape that the kernel takes, and torch for all others."""

import copy
from itertools import product

import pytest
import torch

from tests.bounds import assert_as_exact
from tests.shapes import VOCAB, WIDTH, WRITERS, build
from trifold.generation import lower_precision
from trifold.generation.decoding import Decoding
from trifold.generation.kernel import Kernel, load_kernel
from trifold.generation.streamed import StreamedBlock
from trifold.model import Transformer
from trifold.model.config import (
    Attention,
    Block,
    Embedding,
    FeedForward,
    LayerNorm,
    Norm,
    OffsetRMSNorm,
    Residual,
    RMSNorm,
    Rotary,
    Stack,
)
from trifold.model.config import Transformer as Shape

compiled = pytest.mark.skipif(load_kernel() is None, reason="no compiler")

NORMS: list[Norm | None] = [LayerNorm(), LayerNorm(bias=False), RMSNorm(eps=1e-3), None]
FEEDS = [
    FeedForward(d_ff=70, activation=name, gated=gated, bias=gated)
    for name, gated in product(("identity", "relu", "gelu", "gelu_tanh", "silu"), (False, True))
]
RESIDUALS = [Residual(pre_norm=norm) for norm in NORMS] + [
    Residual(post_norm=LayerNorm()),
    Residual(pre_norm=RMSNorm(), branch_norm=RMSNorm(), post_norm=LayerNorm()),
    Residual(pre_norm=OffsetRMSNorm(), branch_norm=OffsetRMSNorm(eps=1e-3)),
]


def _model(
    feed: FeedForward, residual: Residual, kv_heads: int = 2, *, rotary: bool = True, **more: object
) -> Transformer:
    attention = Attention(num_heads=4, num_kv_heads=kv_heads, causal=True, residual=residual,
                          position=Rotary() if rotary else None, **{"head_size": 10, **more})  # type: ignore[arg-type]  # fmt: skip
    feed = FeedForward(**{**{name: getattr(feed, name) for name in FeedForward.__slots__}, "residual": residual})
    torch.manual_seed(0)
    stack = Stack(blocks=(Block(attention=attention, feed_forward=feed),) * 2)
    model = Transformer(Shape(vocab_size=VOCAB, d_model=WIDTH, embedding=Embedding(), decoder=stack))
    for parameter in model.parameters():  # biases and norms too
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def _logits(model: Transformer, steps: int) -> torch.Tensor:
    """Those of a prompt of three and of each token after it, fed from a fixed text."""
    decoding = Decoding(model, [[5, 6, 7]])
    return torch.stack([decoding.start(), *(decoding.step(torch.tensor([(7 * i) % VOCAB])) for i in range(steps))])


@pytest.fixture
def calls(monkeypatch):
    """How often the kernel computed a block."""
    made, plain = [], Kernel.block

    def counted(*given):
        made.append(given)
        return plain(*given)

    monkeypatch.setattr(Kernel, "block", counted)
    return made


@compiled
@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("feed", FEEDS)
def test_a_block_gives_the_numbers_of_the_plain_one(feed, residual, calls):
    model = _model(feed, residual)
    lean = lower_precision(copy.deepcopy(model), "float32", decoding=True)
    made = _logits(lean, 6)
    assert len(calls) == 12
    assert_as_exact(made, _logits(model, 6), _logits(copy.deepcopy(model).double(), 6))


@compiled
@pytest.mark.parametrize(
    "more",
    [
        {"kv_heads": 1},
        {"kv_heads": 4},
        {"rotary": False},
        {"scale": 0.5},
        {"qkv_bias": False},
        {"head_size": 80},
        {"head_norm": RMSNorm(eps=1e-3)},
        {"head_norm": OffsetRMSNorm(), "scale": 0.7},
        {"head_norm": LayerNorm()},
    ],
)
def test_heads_positions_and_scales(more, calls):
    model = _model(FEEDS[4], RESIDUALS[0], **more)
    lean = lower_precision(copy.deepcopy(model), "float32", decoding=True)
    made = _logits(lean, 80)
    assert len(calls) > 2 * 70  # only where the room for keys grows, torch computes the token
    assert_as_exact(made, _logits(model, 80), _logits(copy.deepcopy(model).double(), 80))


@compiled
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_fewer_bits_are_as_near_as_they_were(precision, calls):
    model = _model(FEEDS[3], RESIDUALS[0])
    exact = _logits(copy.deepcopy(model).bfloat16().float(), 20)
    found = [lower_precision(copy.deepcopy(model), precision, decoding=decoding) for decoding in (True, False)]
    near, plain = ((_logits(one, 20).float() - exact).norm() / exact.norm() for one in found)
    assert len(calls) == 40
    assert near < max(1.1 * plain, 0.01)


@compiled
def test_what_the_kernel_does_not_know_goes_to_torch(calls):
    """Windows that cut, several rows, encoders' memories, dropout and gradients."""
    model = _model(FEEDS[4], RESIDUALS[0], window=4)
    lean = lower_precision(copy.deepcopy(model), "float32", decoding=True)
    exact = copy.deepcopy(model).double()
    made = _logits(lean, 12)
    assert len(calls) == 2 * 2  # the first two new tokens still see everything
    assert_as_exact(made, _logits(model, 12), _logits(exact, 12))
    calls.clear()
    rows = [Decoding(one, [[5, 6], [7, 8]]) for one in (lean, model, exact)]
    assert_as_exact(*(row.start() for row in rows))
    assert_as_exact(*(row.step(torch.tensor([3, 4])) for row in rows))
    with torch.enable_grad():
        cache = lean.new_cache()
        lean.decode(torch.tensor([[1, 2]]), cache=cache)
        lean.decode(torch.tensor([[3]]), cache=cache).sum().backward()
    assert not calls


@compiled
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_families_that_it_serves(name, precision, calls):
    model = build(name).float().eval()
    lean = lower_precision(model, precision, decoding=True)
    streams = lean.encoder is None and any(isinstance(module, StreamedBlock) for module in lean.modules())
    decoding = Decoding(lean, [[5, 6, 7]], None if lean.encoder is None else [[5, 6]])
    decoding.start()
    assert decoding.step(torch.tensor([3])).isfinite().all()
    assert bool(calls) == streams


@compiled
@torch.inference_mode()
def test_copies_and_moved_weights_are_read_where_they_lie(calls):
    model = lower_precision(_model(FEEDS[4], RESIDUALS[0]), "float32", decoding=True)
    before = _logits(model, 4)
    copied = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.zero_()
    torch.testing.assert_close(_logits(copied, 4), before)
    copied.to(torch.float64).to(torch.float32)
    torch.testing.assert_close(_logits(copied, 4), before)
    assert len(calls) == 3 * 8


@compiled
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_what_is_no_number_is_not_hidden(bad, precision):
    model = _model(FEEDS[4], RESIDUALS[0])
    lean = lower_precision(model, precision, decoding=True)
    with torch.inference_mode():
        lean.embedding.tokens.weight[3] = bad
        decoding = Decoding(lean, [[5, 6]])
        decoding.start()
        assert not decoding.step(torch.tensor([3])).isfinite().any()


def _replace_projection(model):
    branch = model.decoder.blocks[0].attention.branch
    branch.q_proj = torch.nn.Linear(WIDTH, branch.q_proj.out_features, bias=branch.q_proj.bias is not None)


def _own_forward(model):
    norm = model.decoder.blocks[0].feed_forward.pre_norm
    norm.forward = lambda x: 2.0 * type(norm).forward(norm, x)


def _subclass(model):
    class Twice(torch.nn.Linear):
        def forward(self, x):
            return 2.0 * super().forward(x)

    branch = model.decoder.blocks[1].feed_forward.branch
    old = branch.up_proj
    branch.up_proj = Twice(old.in_features, old.out_features, bias=old.bias is not None)
    branch.up_proj.load_state_dict(old.state_dict())


def _attention_of_another_kind(model):
    part = model.decoder.blocks[1].attention.branch

    class Doubled(type(part)):
        def forward(self, *given, **named):
            return 2.0 * super().forward(*given, **named)

    part.__class__ = Doubled


def _another_activation(model):
    model.decoder.blocks[0].feed_forward.branch.activation = torch.nn.Tanh()


def _own_dropout(model):
    class Halved(torch.nn.Module):
        def forward(self, x):
            return 0.5 * x

    model.decoder.blocks[0].feed_forward.dropout = Halved()


def _new_parameter(model):
    branch = model.decoder.blocks[0].feed_forward.branch
    branch.down_proj.weight = torch.nn.Parameter(torch.randn_like(branch.down_proj.weight))


def _new_data(model):
    weight = model.decoder.blocks[0].attention.branch.o_proj.weight
    weight.data = torch.randn_like(weight)


@compiled
@pytest.mark.parametrize(
    "change",
    [
        _replace_projection,
        _own_forward,
        _subclass,
        _attention_of_another_kind,
        _another_activation,
        _own_dropout,
        _new_parameter,
        _new_data,
    ],
)
@torch.no_grad()
def test_what_takes_the_place_of_a_part_or_a_weight_after_the_first_token_is_called(change, calls):
    model = _model(FEEDS[4], RESIDUALS[0])
    lean = lower_precision(copy.deepcopy(model), "float32", decoding=True)
    before = _logits(lean, 3)
    assert calls
    for each in (lean, model):
        torch.manual_seed(1)
        change(each)
    after = _logits(lean, 3)
    assert (after - before).abs().max() > 0.01
    torch.testing.assert_close(after, _logits(model, 3), rtol=1e-4, atol=1e-4)
