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
from trifold.presets.field import Fields, refuse_unless, their_activation
from trifold.presets.preset import Preset
from trifold.presets.rotary import Scaling, build_rotary, read_layer_types, read_ropes, write_ropes

__all__ = ["PRESET", "Options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Config):
    """What one may turn.

    `window` is the whole width of local attention, half of it on each side; `layer_types` says which layers have it,
    None for all but every `global_every`th; `head_activation` None is `activation`.
    """

    num_layers: Count = 22
    d_model: Count = 768
    num_heads: Count = 12
    d_ff: Count = 1152
    max_length: Count = 8192
    vocab_size: Count = 50368
    window: Natural = 128
    global_every: Count = 3
    layer_types: tuple[Literal["full_attention", "sliding_attention"], ...] | None = None
    global_base: Positive = 160_000.0
    local_base: Positive = 10_000.0
    global_scaling: Scaling | None = None
    local_scaling: Scaling | None = None
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "gelu"
    head_activation: Literal["relu", "gelu", "gelu_tanh", "silu"] | None = None
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    output_bias: bool = True
    tied: bool = True
    eps: Positive = 1e-5
    dropout: Chance = 0.0
    std: Positive = 0.02

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        divides = self.d_model % self.num_heads == 0
        require(divides, where="num_heads", given=self.num_heads, allowed=f"a divisor of d_model = {self.d_model}")
        require(self.num_layers <= 1024, where="num_layers", given=self.num_layers, allowed="1 to 1024")
        each = self.layer_types is None or len(self.layer_types) == self.num_layers
        require(each, where="layer_types", given=self.layer_types, allowed=f"one for each of {self.num_layers} layers")

    @property
    def kinds(self) -> list[str]:
        """What each layer sees."""
        usual = [
            "sliding_attention" if layer % self.global_every else "full_attention" for layer in range(self.num_layers)
        ]
        return list(self.layer_types or usual)


SIZES: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 4, "d_model": 128, "num_heads": 4, "d_ff": 192},
    "mini": {"num_layers": 6, "d_model": 256, "num_heads": 4, "d_ff": 384},
    "small": {"num_layers": 8, "d_model": 512, "num_heads": 8, "d_ff": 768},
    "medium": {"num_layers": 13, "d_model": 640, "num_heads": 10, "d_ff": 960},
    "base": {"num_layers": 22, "d_model": 768, "num_heads": 12, "d_ff": 1152},
    "large": {"num_layers": 28, "d_model": 1024, "num_heads": 16, "d_ff": 2624},
}


def build(options: Options) -> config.Transformer:
    """The configuration."""
    norm = config.LayerNorm(eps=options.eps, bias=options.norm_bias)
    residual = config.Residual(pre_norm=norm, dropout=options.dropout)
    whole = config.Attention(
        num_heads=options.num_heads,
        num_kv_heads=options.num_heads,
        head_size=options.d_model // options.num_heads,
        causal=False,
        position=build_rotary(options.global_base, options.global_scaling),
        qkv_bias=options.attention_bias,
        output_bias=options.attention_bias,
        dropout=options.dropout,
        residual=residual,
    )
    position = build_rotary(options.local_base, options.local_scaling)
    local = replace(whole, window=options.window // 2, position=position)
    feed_forward = config.FeedForward(
        d_ff=options.d_ff, activation=options.activation, gated=True, bias=options.mlp_bias, residual=residual
    )
    attentions = [whole if kind == "full_attention" else local for kind in options.kinds]
    attentions[0] = replace(attentions[0], residual=config.Residual(dropout=options.dropout))
    return config.Transformer(
        vocab_size=options.vocab_size,
        d_model=options.d_model,
        embedding=config.Embedding(norm=norm, dropout=options.dropout),
        encoder=config.Stack(
            blocks=tuple(config.Block(attention=one, feed_forward=feed_forward) for one in attentions),
            final_norm=norm,
        ),
        head=config.Head(
            tied=options.tied,
            bias=options.output_bias,
            activation=options.head_activation or options.activation,
            dense_bias=options.head_bias,
            norm=norm,
        ),
        initialization=config.Initialization(std=options.std, scale_residual=True),
    )


def keys(options: Options) -> KeyMap:
    """The key table; three projections are stored as one, and so are gate and up."""
    block, theirs = "encoder.blocks.{}.", "model.layers.{}."
    feed, branch = f"{block}feed_forward.", f"{block}attention.branch."
    layer, first, whole = [], [], []
    for kind, present in (("weight", True), ("bias", options.attention_bias)):
        if present:
            layer.append(Entry(f"{theirs}attn.Wqkv.{kind}", tuple(f"{branch}{name}_proj.{kind}" for name in "qkv")))
            layer.append(Entry(f"{theirs}attn.Wo.{kind}", (f"{branch}o_proj.{kind}",)))
    for kind, present in (("weight", True), ("bias", options.mlp_bias)):
        if present:
            two = (f"{feed}branch.gate_proj.{kind}", f"{feed}branch.up_proj.{kind}")
            layer.append(Entry(f"{theirs}mlp.Wi.{kind}", two))
            layer.append(Entry(f"{theirs}mlp.Wo.{kind}", (f"{feed}branch.down_proj.{kind}",)))
    for kind, present in (("weight", True), ("bias", options.norm_bias)):
        if present:
            layer.append(Entry(f"{theirs}mlp_norm.{kind}", (f"{feed}pre_norm.{kind}",)))
            first.append(Entry(f"{theirs}attn_norm.{kind}", (f"{block}attention.pre_norm.{kind}",)))
            whole.append(Entry(f"model.embeddings.norm.{kind}", (f"embedding.norm.{kind}",)))
            whole.append(Entry(f"model.final_norm.{kind}", (f"encoder.final_norm.{kind}",)))
            whole.append(Entry(f"head.norm.{kind}", (f"head.norm.{kind}",)))
    layers = numbered(layer, options.num_layers)
    layers += [entry for entry in numbered(first, options.num_layers) if ".0." not in entry.theirs]
    return KeyMap((*_head_keys(options), *whole, *layers))


def _head_keys(options: Options) -> list[Entry]:
    table = "embedding.tokens.weight"
    dense = ("weight", "bias") if options.head_bias else ("weight",)
    return [
        Entry("model.embeddings.tok_embeddings.weight", (table,)),
        *(Entry(f"head.dense.{kind}", (f"head.dense.{kind}",)) for kind in dense),
        *([Entry("decoder.bias", ("head.output.bias",))] if options.output_bias else []),
        Entry("decoder.weight", (table if options.tied else "head.output.weight",), optional=options.tied),
    ]


FIELDS = Fields(
    defaults={
        "num_hidden_layers": 22, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 1152,
        "max_position_embeddings": 8192, "vocab_size": 50368, "local_attention": 128, "sliding_window": None,
        "norm_eps": 1e-5, "embedding_dropout": 0.0, "initializer_range": 0.02, "norm_bias": False,
        "attention_bias": False, "mlp_bias": False, "classifier_bias": False, "decoder_bias": True,
        "tie_word_embeddings": True, "hidden_activation": "gelu", "classifier_activation": "gelu",
        "global_attn_every_n_layers": 3, "layer_types": None, "rope_parameters": None, "rope_scaling": None,
        "global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0,
    },
    plain={
        "num_hidden_layers": "num_layers", "hidden_size": "d_model", "num_attention_heads": "num_heads",
        "intermediate_size": "d_ff", "max_position_embeddings": "max_length", "vocab_size": "vocab_size",
        "local_attention": "window", "norm_eps": "eps", "embedding_dropout": "dropout", "initializer_range": "std",
        "norm_bias": "norm_bias", "attention_bias": "attention_bias", "mlp_bias": "mlp_bias",
        "classifier_bias": "head_bias", "decoder_bias": "output_bias", "tie_word_embeddings": "tied",
        "global_attn_every_n_layers": "global_every", "global_rope_theta": "global_base",
        "local_rope_theta": "local_base",
    },
    activations={"hidden_activation": "activation", "classifier_activation": "head_activation"},
    silent=frozenset({
        "attention_dropout", "classifier_pooling", "deterministic_flash_attn", "initializer_cutoff_factor",
        "mlp_dropout", "reference_compile", "sparse_pred_ignore_index", "sparse_prediction",
    }),
    names={"rope_parameters": "global_scaling"},
)  # fmt: skip


ROPES = {"full_attention": ("global", "global_rope_theta"), "sliding_attention": ("local", "local_rope_theta")}


def write(options: Options) -> dict[str, Any]:
    """The rest of Hugging Face's configuration."""
    return {
        "layer_types": options.kinds,
        **write_ropes(options, ROPES),
        "classifier_activation": their_activation(options.head_activation or options.activation),
        "attention_dropout": options.dropout,
        "mlp_dropout": options.dropout,
    }


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the options that are no field under another name."""
    values: dict[str, Any] = {}
    if given["layer_types"] is not None:
        values["layer_types"] = read_layer_types(given["layer_types"], given["num_hidden_layers"])
    if given["sliding_window"] is not None:
        refuse_unless(type(given["sliding_window"]) is int, "sliding_window", given["sliding_window"], "a whole number")
        values["window"] = 2 * given["sliding_window"]
    return values | read_ropes(given, ROPES, scaled=ROPES)


PRESET = Preset(
    name="modernbert",
    model_type="modernbert",
    architecture="ModernBertForMaskedLM",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=keys,
    fields=FIELDS,
    write=write,
    read=read,
    prefix="model.",
    table="model.embeddings.tok_embeddings.weight",
    output="decoder.weight",
    objective="masked",
)
