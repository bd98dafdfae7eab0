"""ModernBERT: an encoder with rotary positions, gated feed-forward and alternating attention (Warner et al. 2024).

Every third layer sees everything, the others a window; each kind has its own rotary base; the first layer has no norm
before its attention, since the embedding's has just been applied.

| size | layers | width | heads | d_ff |
|---|---|---|---|---|
| tiny | 4 | 128 | 4 | 192 |
| mini | 6 | 256 | 4 | 384 |
| small | 8 | 512 | 8 | 768 |
| medium | 13 | 640 | 10 | 960 |
| base | 22 | 768 | 12 | 1152 (the paper's base) |
| large | 28 | 1024 | 16 | 2624 (the paper's large) |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Chance, Config, Count, Natural, Positive, require
from trifold.model import config
from trifold.presets.preset import Preset, activation_name, pick, refuse_unless, their_activation

__all__ = ["PRESET", "Dials"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dials(Config):
    """What one may turn; `window` is the whole width of local attention, half of it on each side."""

    num_layers: Count = 22
    d_model: Count = 768
    num_heads: Count = 12
    d_ff: Count = 1152
    max_length: Count = 8192
    vocab_size: Count = 50368
    window: Natural = 128
    global_every: Count = 3
    global_base: Positive = 160_000.0
    local_base: Positive = 10_000.0
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "gelu"
    eps: Positive = 1e-5
    dropout: Chance = 0.0
    std: Positive = 0.02

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        divides = self.d_model % self.num_heads == 0
        require(divides, where="num_heads", given=self.num_heads, allowed=f"a divisor of d_model = {self.d_model}")
        require(self.num_layers <= 1024, where="num_layers", given=self.num_layers, allowed="1 to 1024")


SIZES: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 4, "d_model": 128, "num_heads": 4, "d_ff": 192},
    "mini": {"num_layers": 6, "d_model": 256, "num_heads": 4, "d_ff": 384},
    "small": {"num_layers": 8, "d_model": 512, "num_heads": 8, "d_ff": 768},
    "medium": {"num_layers": 13, "d_model": 640, "num_heads": 10, "d_ff": 960},
    "base": {"num_layers": 22, "d_model": 768, "num_heads": 12, "d_ff": 1152},
    "large": {"num_layers": 28, "d_model": 1024, "num_heads": 16, "d_ff": 2624},
}


def build(dials: Dials) -> config.Transformer:
    """The configuration."""
    norm = config.LayerNorm(eps=dials.eps, bias=False)
    residual = config.Residual(pre_norm=norm, dropout=dials.dropout)
    whole = config.Attention(
        num_heads=dials.num_heads,
        num_kv_heads=dials.num_heads,
        head_size=dials.d_model // dials.num_heads,
        causal=False,
        position=config.Rotary(base=dials.global_base),
        qkv_bias=False,
        output_bias=False,
        dropout=dials.dropout,
        residual=residual,
    )
    local = replace(whole, window=dials.window // 2, position=config.Rotary(base=dials.local_base))
    feed_forward = config.FeedForward(
        d_ff=dials.d_ff, activation=dials.activation, gated=True, bias=False, residual=residual
    )
    attentions = [whole if layer % dials.global_every == 0 else local for layer in range(dials.num_layers)]
    attentions[0] = replace(attentions[0], residual=config.Residual(dropout=dials.dropout))
    return config.Transformer(
        vocab_size=dials.vocab_size,
        d_model=dials.d_model,
        embedding=config.Embedding(norm=norm, dropout=dials.dropout),
        encoder=config.Stack(
            blocks=tuple(config.Block(attention=one, feed_forward=feed_forward) for one in attentions),
            final_norm=norm,
        ),
        head=config.Head(bias=True, activation=dials.activation, dense_bias=False, norm=norm),
        initialization=config.Initialization(std=dials.std, scale_residual=True),
    )


def keys(dials: Dials) -> KeyMap:
    """The key table; three projections are stored as one, and so are gate and up."""
    block, theirs = "encoder.blocks.{}.", "model.layers.{}."
    feed = f"{block}feed_forward."
    layer = [
        Entry(f"{theirs}attn.Wqkv.weight", tuple(f"{block}attention.branch.{name}_proj.weight" for name in "qkv")),
        Entry(f"{theirs}attn.Wo.weight", (f"{block}attention.branch.o_proj.weight",)),
        Entry(f"{theirs}mlp_norm.weight", (f"{feed}pre_norm.weight",)),
        Entry(f"{theirs}mlp.Wi.weight", (f"{feed}branch.gate_proj.weight", f"{feed}branch.up_proj.weight")),
        Entry(f"{theirs}mlp.Wo.weight", (f"{feed}branch.down_proj.weight",)),
    ]
    norms = [Entry(f"model.layers.{n}.attn_norm.weight", (f"encoder.blocks.{n}.attention.pre_norm.weight",))
             for n in range(1, dials.num_layers)]  # fmt: skip
    whole = [
        Entry("model.embeddings.tok_embeddings.weight", ("embedding.tokens.weight",)),
        Entry("model.embeddings.norm.weight", ("embedding.norm.weight",)),
        Entry("model.final_norm.weight", ("encoder.final_norm.weight",)),
        Entry("head.dense.weight", ("head.dense.weight",)),
        Entry("head.norm.weight", ("head.norm.weight",)),
        Entry("decoder.bias", ("head.output.bias",)),
        Entry("decoder.weight", ("embedding.tokens.weight",), optional=True),
    ]
    return KeyMap((*whole, *norms, *numbered(layer, dials.num_layers)))


def write(dials: Dials) -> dict[str, Any]:
    """Hugging Face's configuration."""
    kinds = ["full_attention" if n % dials.global_every == 0 else "sliding_attention" for n in range(dials.num_layers)]
    bases = {"full_attention": dials.global_base, "sliding_attention": dials.local_base}
    return {
        "num_hidden_layers": dials.num_layers,
        "hidden_size": dials.d_model,
        "num_attention_heads": dials.num_heads,
        "intermediate_size": dials.d_ff,
        "max_position_embeddings": dials.max_length,
        "vocab_size": dials.vocab_size,
        "local_attention": dials.window,
        "global_attn_every_n_layers": dials.global_every,
        "layer_types": kinds,
        "global_rope_theta": dials.global_base,
        "local_rope_theta": dials.local_base,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
        "hidden_activation": their_activation(dials.activation),
        "classifier_activation": their_activation(dials.activation),
        "norm_eps": dials.eps,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "embedding_dropout": dials.dropout,
        "attention_dropout": dials.dropout,
        "mlp_dropout": dials.dropout,
        "initializer_range": dials.std,
        "tie_word_embeddings": True,
    }


def read(data: Mapping[str, Any]) -> dict[str, Any]:
    """Values of dials from Hugging Face's configuration."""
    for name in ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"):
        refuse_unless(not data.get(name), name, data.get(name), "false")
    refuse_unless(data.get("decoder_bias", True) is True, "decoder_bias", False, "true")
    rope = data.get("rope_parameters") or {}
    attentions = ("full_attention", "sliding_attention")
    plain = isinstance(rope, dict) and all(isinstance(rope.get(kind) or {}, dict) for kind in attentions)
    refuse_unless(plain, "rope_parameters", rope, "a mapping of mappings")
    kinds = data.get("layer_types") or []
    refuse_unless(isinstance(kinds, list), "layer_types", kinds, "a list")
    values = pick(
        data,
        num_layers="num_hidden_layers",
        d_model="hidden_size",
        num_heads="num_attention_heads",
        d_ff="intermediate_size",
        max_length="max_position_embeddings",
        vocab_size="vocab_size",
        window="local_attention",
        global_every="global_attn_every_n_layers",
        global_base="global_rope_theta",
        local_base="local_rope_theta",
        eps="norm_eps",
        dropout="embedding_dropout",
        std="initializer_range",
    )
    for dial, kind in zip(("global_base", "local_base"), attentions, strict=True):
        values[dial] = (rope.get(kind) or {}).get("rope_theta", values[dial])
    if values["global_every"] is None and kinds:
        values["global_every"] = next((n for n in range(1, len(kinds)) if kinds[n] == kinds[0]), len(kinds))
    return {**values, "activation": activation_name(data, "hidden_activation", "gelu")}


PRESET = Preset(
    name="modernbert",
    model_type="modernbert",
    architecture="ModernBertForMaskedLM",
    dials=Dials,
    sizes=SIZES,
    build=build,
    keys=keys,
    write=write,
    read=read,
    prefix="",
    objective="masked",
)
