"""Tiny models of every shape that the core can take, and of every family, for the property tests."""

from dataclasses import asdict, replace

import torch

from trifold.model import Transformer
from trifold.model.config import (
    Attention,
    Block,
    Embedding,
    FeedForward,
    Head,
    LayerNorm,
    Learned,
    OffsetRMSNorm,
    RelativeBias,
    Residual,
    RMSNorm,
    Rotary,
    Sinusoidal,
    Stack,
)
from trifold.model.config import Transformer as Shape
from trifold.presets import PRESETS, build_config

VOCAB, WIDTH, LONGEST = 29, 16, 128
LAYER, RMS, OFFSET = LayerNorm(), RMSNorm(), OffsetRMSNorm()
PRE, POST = Residual(pre_norm=LAYER), Residual(post_norm=LAYER)
PRE_RMS, SANDWICH = Residual(pre_norm=RMS), Residual(pre_norm=RMS, branch_norm=RMS)
LEARNED, SINUSOIDAL = Learned(max_length=LONGEST, offset=2), Sinusoidal(max_length=LONGEST)


def _attention(residual: Residual, *, causal: bool = False, kv_heads: int = 4, **more: object) -> Attention:
    return Attention(num_heads=4, num_kv_heads=kv_heads, head_size=4, causal=causal, residual=residual, **more)  # type: ignore[arg-type]


def _feed(residual: Residual, activation: str = "gelu", *, gated: bool = False, bias: bool = True) -> FeedForward:
    return FeedForward(d_ff=24, activation=activation, gated=gated, bias=bias, residual=residual)  # type: ignore[arg-type]


def _stack(*attentions: Attention, cross: Attention | None = None, feed: FeedForward, **more: object) -> Stack:
    blocks = tuple(Block(attention=part, cross_attention=cross, feed_forward=feed) for part in attentions)
    return Stack(blocks=blocks, **more)  # type: ignore[arg-type]


def _shape(embedding: Embedding, head: Head | None = None, **stacks: Stack) -> Shape:
    return Shape(vocab_size=VOCAB, d_model=WIDTH, embedding=embedding, head=head or Head(), **stacks)


def _post_learned() -> Shape:
    stack = _stack(*[_attention(POST)] * 2, feed=_feed(POST))
    head = Head(bias=True, activation="gelu", norm=LAYER)
    return _shape(Embedding(position=LEARNED, num_segments=2, norm=LAYER), head, encoder=stack)


def _pre_learned() -> Shape:
    stack = _stack(*[_attention(PRE, causal=True)] * 2, feed=_feed(PRE, "gelu_tanh"), final_norm=LAYER)
    return _shape(Embedding(position=LEARNED), decoder=stack)


def _rotary_window() -> Shape:
    part = _attention(PRE_RMS, causal=True, kv_heads=2, window=5, position=Rotary(), qkv_bias=False, output_bias=False)
    feed = _feed(PRE_RMS, "silu", gated=True, bias=False)
    return _shape(Embedding(), Head(tied=False), decoder=_stack(*[part] * 2, feed=feed, final_norm=RMS))


def _rotary_whole() -> Shape:
    part = _attention(PRE_RMS, causal=True, kv_heads=1, position=Rotary(), output_bias=False)
    feed = _feed(PRE_RMS, "silu", gated=True, bias=False)
    return _shape(Embedding(), decoder=_stack(*[part] * 2, feed=feed, final_norm=RMS))


def _local_global() -> Shape:
    far = _attention(PRE, position=Rotary(base=160_000.0), qkv_bias=False, output_bias=False)
    near = _attention(PRE, position=Rotary(), window=3, qkv_bias=False, output_bias=False)
    stack = _stack(far, near, near, feed=_feed(PRE, gated=True, bias=False), final_norm=LAYER)
    return _shape(Embedding(norm=LAYER), Head(bias=True, activation="gelu", norm=LAYER), encoder=stack)


def _pair_sinusoidal() -> Shape:
    encoder = _stack(*[_attention(POST)] * 2, feed=_feed(POST, "relu"))
    decoder = _stack(*[_attention(POST, causal=True)] * 2, cross=_attention(POST), feed=_feed(POST, "relu"))
    return _shape(Embedding(position=SINUSOIDAL, scale=WIDTH**0.5), Head(bias=True), encoder=encoder, decoder=decoder)


def _pair_relative() -> Shape:
    def bias(bidirectional: bool) -> RelativeBias:
        return RelativeBias(num_buckets=8, max_distance=20, bidirectional=bidirectional)

    plain: dict[str, object] = {"qkv_bias": False, "output_bias": False, "scale": 1.0}
    feed = _feed(PRE_RMS, "gelu_tanh", gated=True, bias=False)
    both = _attention(PRE_RMS, position=bias(True), **plain)
    past = _attention(PRE_RMS, causal=True, position=bias(False), **plain)
    cross = _attention(PRE_RMS, head_norm=RMS, **plain)
    encoder = _stack(*[both] * 2, feed=feed, final_norm=RMS)
    decoder = _stack(*[past] * 2, cross=cross, feed=feed, final_norm=RMS)
    return _shape(Embedding(), Head(tied=False), encoder=encoder, decoder=decoder)


def _sandwich() -> Shape:
    mixed = [_attention(SANDWICH, causal=True, kv_heads=2, window=w, position=Rotary(), scale=0.3) for w in (4, None)]
    stack = _stack(*mixed, feed=_feed(SANDWICH, "gelu_tanh", gated=True), final_norm=RMS)
    return _shape(Embedding(scale=WIDTH**0.5), decoder=stack)


def _head_norms() -> Shape:
    """Global and local layers, each with positions of its own, norms everywhere."""
    around, plain = Residual(pre_norm=OFFSET, branch_norm=OFFSET), {"qkv_bias": False, "output_bias": False}
    mixed = [_attention(around, causal=True, kv_heads=2, window=w, position=Rotary(base=b), head_norm=OFFSET, **plain)
             for w, b in ((4, 10.0), (None, 500.0))]  # fmt: skip
    stack = _stack(*mixed, feed=_feed(around, "gelu_tanh", gated=True, bias=False), final_norm=OFFSET)
    return _shape(Embedding(scale=WIDTH**0.5), decoder=stack)


def _presets() -> dict[str, Shape]:
    """Every family at a width of 16, as its file has it or by the list below; windows short enough to cut."""
    overrides: dict[str, object] = {"num_layers": 2, "d_model": WIDTH, "num_heads": 4, "d_ff": 24, "vocab_size": VOCAB}
    overrides["dropout"] = 0.0
    limited = {"max_length": LONGEST}
    more: dict[str, dict[str, object]] = {
        **dict.fromkeys(("vaswani", "bert", "roberta", "gpt2", "llama", "qwen2", "bart", "mbart"), limited),
        "modernbert": {**limited, "window": 6, "num_layers": 4},
        "mistral": {**limited, "window": 6},
        **{name: {"head_size": 4, "num_buckets": 8, "max_distance": 20} for name in ("t5", "t5_v1_1", "mt5", "umt5")},
    }
    made = {name: build_config(name, size="tiny", overrides={**overrides, **own}) for name, own in more.items()}
    given = {"vocab_size": VOCAB, "max_length": LONGEST, "dropout": 0.0}
    made |= {name: one.build(one.turn(small_options(name), given)) for name, one in PRESETS.items() if name not in more}
    return {f"{_family(shape)}_{name}": shape for name, shape in made.items()}


def small_options(name: str) -> dict[str, object]:
    """The options of the small configuration that a family's file has."""
    family = PRESETS[name]
    assert family.small, f"{name}: a new family gives `small`"
    return asdict(family.read_options(family.small))  # type: ignore[call-overload]


def _family(shape: Shape) -> str:
    return "pair" if shape.encoder and shape.decoder else "decoder" if shape.decoder else "encoder"


CORE: dict[str, Shape] = {
    "encoder_post_learned": _post_learned(),
    "encoder_rotary_local_global": _local_global(),
    "decoder_pre_learned": _pre_learned(),
    "decoder_rotary_window": _rotary_window(),
    "decoder_rotary_whole": _rotary_whole(),
    "decoder_sandwich": _sandwich(),
    "decoder_head_norms": _head_norms(),
    "pair_post_sinusoidal": _pair_sinusoidal(),
    "pair_relative_rms": _pair_relative(),
}
SHAPES = CORE | _presets()
ENCODERS = [name for name in SHAPES if name.startswith("encoder")]
DECODERS = [name for name in SHAPES if name.startswith("decoder")]
PAIRS = [name for name in SHAPES if name.startswith("pair")]
CAUSAL = DECODERS + PAIRS
WRITERS = [name for name in CAUSAL if name in CORE]


def build(name: str, *, dtype: torch.dtype = torch.float64, seed: int = 0, vocab_size: int = VOCAB) -> Transformer:
    """The model of that shape, every weight noisy (so that no bias is 0 and no norm is 1), ready for inference."""
    torch.manual_seed(seed)
    model = Transformer(replace(SHAPES[name], vocab_size=vocab_size)).to(dtype).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    return model


def tokens(*size: int, seed: int = 0) -> torch.Tensor:
    """Random token ids."""
    return torch.randint(VOCAB, size, generator=torch.Generator().manual_seed(seed))
