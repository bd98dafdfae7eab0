"""GPT-2: a decoder with learned positions and pre-norm (Radford et al. 2019).

| size | layers | width | heads | parameters in the blocks |
|---|---|---|---|---|
| tiny | 4 | 128 | 4 | 0.8 M |
| mini | 6 | 256 | 4 | 4.7 M |
| small | 8 | 512 | 8 | 25 M |
| medium | 12 | 640 | 10 | 59 M |
| base | 12 | 768 | 12 | 85 M (GPT-2's smallest) |
| large | 24 | 1024 | 16 | 302 M (GPT-2 medium) |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Chance, Config, Count, Positive, require
from trifold.model import config
from trifold.presets.preset import Preset, activation_name, pick, refuse_unless, their_activation

__all__ = ["PRESET", "Dials"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dials(Config):
    """What one may turn; `d_ff` None is four times the width."""

    num_layers: Count = 12
    d_model: Count = 768
    num_heads: Count = 12
    d_ff: Count | None = None
    max_length: Count = 1024
    vocab_size: Count = 50257
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "gelu_tanh"
    eps: Positive = 1e-5
    dropout: Chance = 0.1
    std: Positive = 0.02

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        divides = self.d_model % self.num_heads == 0
        require(divides, where="num_heads", given=self.num_heads, allowed=f"a divisor of d_model = {self.d_model}")
        require(self.num_layers <= 1024, where="num_layers", given=self.num_layers, allowed="1 to 1024")


SIZES: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 4, "d_model": 128, "num_heads": 4},
    "mini": {"num_layers": 6, "d_model": 256, "num_heads": 4},
    "small": {"num_layers": 8, "d_model": 512, "num_heads": 8},
    "medium": {"num_layers": 12, "d_model": 640, "num_heads": 10},
    "base": {"num_layers": 12, "d_model": 768, "num_heads": 12},
    "large": {"num_layers": 24, "d_model": 1024, "num_heads": 16},
}


def build(dials: Dials) -> config.Transformer:
    """The configuration."""
    norm = config.LayerNorm(eps=dials.eps)
    residual = config.Residual(pre_norm=norm, dropout=dials.dropout)
    attention = config.Attention(
        num_heads=dials.num_heads,
        num_kv_heads=dials.num_heads,
        head_size=dials.d_model // dials.num_heads,
        causal=True,
        dropout=dials.dropout,
        residual=residual,
    )
    feed_forward = config.FeedForward(
        d_ff=dials.d_ff or 4 * dials.d_model, activation=dials.activation, residual=residual
    )
    block = config.Block(attention=attention, feed_forward=feed_forward)
    return config.Transformer(
        vocab_size=dials.vocab_size,
        d_model=dials.d_model,
        embedding=config.Embedding(position=config.Learned(max_length=dials.max_length), dropout=dials.dropout),
        decoder=config.Stack(blocks=(block,) * dials.num_layers, final_norm=norm),
        initialization=config.Initialization(std=dials.std, scale_residual=True),
    )


def keys(dials: Dials) -> KeyMap:
    """The key table; GPT-2 stores its matrices input first and the three projections as one."""
    block, theirs = "decoder.blocks.{}.", "transformer.h.{}."
    layer = []
    for kind in ("weight", "bias"):
        triple = tuple(f"{block}attention.branch.{name}_proj.{kind}" for name in "qkv")
        feed = f"{block}feed_forward.branch."
        layer += [
            Entry(f"{theirs}ln_1.{kind}", (f"{block}attention.pre_norm.{kind}",)),
            Entry(f"{theirs}attn.c_attn.{kind}", triple, transpose=True),
            Entry(f"{theirs}attn.c_proj.{kind}", (f"{block}attention.branch.o_proj.{kind}",), transpose=True),
            Entry(f"{theirs}ln_2.{kind}", (f"{block}feed_forward.pre_norm.{kind}",)),
            Entry(f"{theirs}mlp.c_fc.{kind}", (f"{feed}up_proj.{kind}",), transpose=True),
            Entry(f"{theirs}mlp.c_proj.{kind}", (f"{feed}down_proj.{kind}",), transpose=True),
        ]
    whole = [
        Entry("transformer.wte.weight", ("embedding.tokens.weight",)),
        Entry("transformer.wpe.weight", ("embedding.position.weight",)),
        Entry("transformer.ln_f.weight", ("decoder.final_norm.weight",)),
        Entry("transformer.ln_f.bias", ("decoder.final_norm.bias",)),
        Entry("lm_head.weight", ("embedding.tokens.weight",), optional=True),
    ]
    buffers = {f"transformer.h.{n}.attn.{name}" for n in range(dials.num_layers) for name in ("bias", "masked_bias")}
    return KeyMap((*whole, *numbered(layer, dials.num_layers)), frozenset(buffers))


def write(dials: Dials) -> dict[str, Any]:
    """Hugging Face's configuration."""
    return {
        "n_layer": dials.num_layers,
        "n_embd": dials.d_model,
        "n_head": dials.num_heads,
        "n_inner": dials.d_ff,
        "n_positions": dials.max_length,
        "vocab_size": dials.vocab_size,
        "activation_function": their_activation(dials.activation),
        "layer_norm_epsilon": dials.eps,
        "resid_pdrop": dials.dropout,
        "embd_pdrop": dials.dropout,
        "attn_pdrop": dials.dropout,
        "initializer_range": dials.std,
        "tie_word_embeddings": True,
    }


def read(data: Mapping[str, Any]) -> dict[str, Any]:
    """Values of dials from Hugging Face's configuration."""
    for name in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        refuse_unless(not data.get(name), name, data.get(name), "false")
    refuse_unless(data.get("scale_attn_weights", True) is True, "scale_attn_weights", False, "true")
    refuse_unless(data.get("tie_word_embeddings", True) is True, "tie_word_embeddings", False, "true")
    values = pick(
        data,
        num_layers="n_layer",
        d_model="n_embd",
        num_heads="n_head",
        d_ff="n_inner",
        max_length="n_positions",
        vocab_size="vocab_size",
        eps="layer_norm_epsilon",
        dropout="resid_pdrop",
        std="initializer_range",
    )
    return {**values, "activation": activation_name(data, "activation_function", "gelu_new")}


PRESET = Preset(
    name="gpt2",
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    dials=Dials,
    sizes=SIZES,
    build=build,
    keys=keys,
    write=write,
    read=read,
    prefix="transformer.",
    objective="causal",
)
