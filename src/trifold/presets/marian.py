"""The Transformer of 2017: an encoder-decoder with sinusoidal positions and post-norm (Vaswani et al. 2017).

Weights have Marian's names, the family under which Hugging Face knows this model.

| size | layers (encoder + decoder) | width | heads | d_ff |
|---|---|---|---|---|
| tiny | 2 + 2 | 128 | 4 | 512 |
| mini | 4 + 4 | 256 | 4 | 1024 |
| small | 6 + 6 | 256 | 8 | 1024 |
| medium | 6 + 6 | 384 | 6 | 1536 |
| base | 6 + 6 | 512 | 8 | 2048 (the paper's base) |
| large | 6 + 6 | 1024 | 16 | 4096 (the paper's big) |
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
    """What one may turn; `num_decoder_layers` None is `num_layers`, `d_ff` None four times the width."""

    num_layers: Count = 6
    num_decoder_layers: Count | None = None
    d_model: Count = 512
    num_heads: Count = 8
    d_ff: Count | None = None
    max_length: Count = 1024
    vocab_size: Count = 37000
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "relu"
    dropout: Chance = 0.1
    attention_dropout: Chance = 0.0
    std: Positive = 0.02

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        divides = self.d_model % self.num_heads == 0 and self.d_model % 2 == 0
        allowed = f"a divisor of d_model = {self.d_model}, which is even"
        require(divides, where="num_heads", given=self.num_heads, allowed=allowed)
        deepest = max(self.num_layers, self.num_decoder_layers or 0)
        require(deepest <= 1024, where="num_layers", given=deepest, allowed="1 to 1024")


SIZES: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 2, "d_model": 128, "num_heads": 4},
    "mini": {"num_layers": 4, "d_model": 256, "num_heads": 4},
    "small": {"num_layers": 6, "d_model": 256, "num_heads": 8},
    "medium": {"num_layers": 6, "d_model": 384, "num_heads": 6},
    "base": {"num_layers": 6, "d_model": 512, "num_heads": 8},
    "large": {"num_layers": 6, "d_model": 1024, "num_heads": 16},
}


def build(dials: Dials) -> config.Transformer:
    """The configuration."""
    residual = config.Residual(post_norm=config.LayerNorm(), dropout=dials.dropout)

    def attention(*, causal: bool) -> config.Attention:
        return config.Attention(
            num_heads=dials.num_heads,
            num_kv_heads=dials.num_heads,
            head_size=dials.d_model // dials.num_heads,
            causal=causal,
            dropout=dials.attention_dropout,
            residual=residual,
        )

    feed_forward = config.FeedForward(
        d_ff=dials.d_ff or 4 * dials.d_model, activation=dials.activation, residual=residual
    )
    reads = config.Block(attention=attention(causal=False), feed_forward=feed_forward)
    writes = config.Block(
        attention=attention(causal=True), cross_attention=attention(causal=False), feed_forward=feed_forward
    )
    deep = dials.num_decoder_layers or dials.num_layers
    return config.Transformer(
        vocab_size=dials.vocab_size,
        d_model=dials.d_model,
        embedding=config.Embedding(
            position=config.Sinusoidal(max_length=dials.max_length), scale=dials.d_model**0.5, dropout=dials.dropout
        ),
        encoder=config.Stack(blocks=(reads,) * dials.num_layers),
        decoder=config.Stack(blocks=(writes,) * deep),
        head=config.Head(bias=True),
        initialization=config.Initialization(kind="xavier", std=dials.std),
    )


def keys(dials: Dials) -> KeyMap:
    """The key table."""
    entries = [
        Entry("model.shared.weight", ("embedding.tokens.weight",)),
        Entry("final_logits_bias", ("head.output.bias",), change="unsqueeze"),
        Entry("lm_head.weight", ("embedding.tokens.weight",), optional=True),
    ]
    depth = {"encoder": dials.num_layers, "decoder": dials.num_decoder_layers or dials.num_layers}
    for stack, layers in depth.items():
        ours, theirs = f"{stack}.blocks.{{}}.", f"model.{stack}.layers.{{}}."
        branches = {"attention": "self_attn"} | ({"cross_attention": "encoder_attn"} if stack == "decoder" else {})
        layer = []
        for kind in ("weight", "bias"):
            for branch, name in branches.items():
                for part in ("q", "k", "v", "out"):
                    place = f"{ours}{branch}.branch.{part[0]}_proj.{kind}"
                    layer.append(Entry(f"{theirs}{name}.{part}_proj.{kind}", (place,)))
                layer.append(Entry(f"{theirs}{name}_layer_norm.{kind}", (f"{ours}{branch}.post_norm.{kind}",)))
            feed = f"{ours}feed_forward."
            layer += [
                Entry(f"{theirs}fc1.{kind}", (f"{feed}branch.up_proj.{kind}",)),
                Entry(f"{theirs}fc2.{kind}", (f"{feed}branch.down_proj.{kind}",)),
                Entry(f"{theirs}final_layer_norm.{kind}", (f"{feed}post_norm.{kind}",)),
            ]
        entries += numbered(layer, layers)
        entries.append(Entry(f"model.{stack}.embed_tokens.weight", ("embedding.tokens.weight",), optional=True))
    ignored = {f"model.{stack}.embed_positions.weight" for stack in depth}  # the same sines, stored
    return KeyMap(tuple(entries), frozenset(ignored))


def write(dials: Dials) -> dict[str, Any]:
    """Hugging Face's configuration."""
    inner, deep = dials.d_ff or 4 * dials.d_model, dials.num_decoder_layers or dials.num_layers
    return {
        "encoder_layers": dials.num_layers,
        "decoder_layers": deep,
        "num_hidden_layers": dials.num_layers,
        "d_model": dials.d_model,
        "encoder_attention_heads": dials.num_heads,
        "decoder_attention_heads": dials.num_heads,
        "encoder_ffn_dim": inner,
        "decoder_ffn_dim": inner,
        "max_position_embeddings": dials.max_length,
        "vocab_size": dials.vocab_size,
        "decoder_vocab_size": dials.vocab_size,
        "activation_function": their_activation(dials.activation),
        "dropout": dials.dropout,
        "attention_dropout": dials.attention_dropout,
        "activation_dropout": 0.0,
        "init_std": dials.std,
        "scale_embedding": True,
        "static_position_embeddings": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
    }


def read(data: Mapping[str, Any]) -> dict[str, Any]:
    """Values of dials from Hugging Face's configuration."""
    for name in ("scale_embedding", "static_position_embeddings", "share_encoder_decoder_embeddings"):
        refuse_unless(data.get(name, True) is True, name, data.get(name), "true")
    for name in ("normalize_before", "normalize_embedding", "add_final_layer_norm"):
        refuse_unless(not data.get(name), name, data.get(name), "false")
    for name in ("attention_heads", "ffn_dim"):
        sides = [data.get(f"{stack}_{name}") for stack in ("encoder", "decoder")]
        refuse_unless(sides[0] == sides[1], f"decoder_{name}", sides[1], f"that of the encoder, {sides[0]}")
    values = pick(
        data,
        num_layers="encoder_layers",
        num_decoder_layers="decoder_layers",
        d_model="d_model",
        num_heads="encoder_attention_heads",
        d_ff="encoder_ffn_dim",
        max_length="max_position_embeddings",
        vocab_size="vocab_size",
        dropout="dropout",
        attention_dropout="attention_dropout",
        std="init_std",
    )
    return {**values, "activation": activation_name(data, "activation_function", "gelu")}


PRESET = Preset(
    name="vaswani",
    model_type="marian",
    architecture="MarianMTModel",
    dials=Dials,
    sizes=SIZES,
    build=build,
    keys=keys,
    write=write,
    read=read,
    prefix="",
    objective="sequence_to_sequence",
)
