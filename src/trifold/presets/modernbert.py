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
from typing import Any

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Count, Natural, Positive
from trifold.model import config
from trifold.presets.field import Fields, refuse_unless
from trifold.presets.options import WIDTHS, Activation, Layered, LayerType, alternate, by_size
from trifold.presets.parts import attention, encoder_only, layers
from trifold.presets.preset import Preset
from trifold.presets.rotary import Alternation, Scaling, build_rotary

__all__ = ["PRESET", "Options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Layered):
    """What one may turn.

    `window` is the whole width of local attention, half of it on each side; `layer_types` says which layers have it,
    None for all but every `global_every`th; `head_activation` None is `activation`.
    """

    num_layers: Count = 22
    d_ff: Count = 1152
    max_length: Count = 8192
    vocab_size: Count = 50368
    window: Natural = 128
    global_every: Count = 3
    global_base: Positive = 160_000.0
    local_base: Positive = 10_000.0
    global_scaling: Scaling | None = None
    local_scaling: Scaling | None = None
    head_activation: Activation | None = None
    norm_bias: bool = False
    attention_bias: bool = False
    head_bias: bool = False
    output_bias: bool = True
    eps: Positive = 1e-5

    @property
    def usual_kinds(self) -> tuple[LayerType, ...]:
        """What each layer sees unless the options say otherwise."""
        return alternate(self.num_layers, self.global_every, first=0)


SIZES = by_size({"num_layers": (4, 6, 8, 13, 22, 28), **WIDTHS, "d_ff": (192, 384, 768, 960, 1152, 2624)})


def build(options: Options) -> config.Transformer:
    """The configuration."""
    norm = config.LayerNorm(eps=options.eps, bias=options.norm_bias)
    residual = config.Residual(pre_norm=norm, dropout=options.dropout)
    both = attention(options, residual, causal=False, bias=options.attention_bias)
    whole = replace(both, position=build_rotary(options.global_base, options.global_scaling))
    near = build_rotary(options.local_base, options.local_scaling)
    local = replace(whole, window=options.window // 2, position=near)
    first, *others = layers(options, whole, local, residual)
    bare = replace(first.attention, residual=config.Residual(dropout=options.dropout))
    blocks = [replace(first, attention=bare), *others]
    embedding = config.Embedding(norm=norm, dropout=options.dropout)
    activation = options.head_activation or options.activation
    head = config.Head(
        tied=options.tied, bias=options.output_bias, activation=activation, dense_bias=options.head_bias, norm=norm
    )
    return encoder_only(options, blocks, embedding=embedding, head=head, norm=norm)


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
    renamed={
        "num_hidden_layers": ("num_layers", 22), "hidden_size": ("d_model", 768), "num_attention_heads": ("num_heads", 12),
        "intermediate_size": ("d_ff", 1152), "max_position_embeddings": ("max_length", 8192),
        "vocab_size": ("vocab_size", 50368), "local_attention": ("window", 128), "norm_eps": ("eps", 1e-5),
        "embedding_dropout": ("dropout", 0.0), "initializer_range": ("std", 0.02), "tie_word_embeddings": ("tied", True),
        "norm_bias": ("norm_bias", False), "attention_bias": ("attention_bias", False), "mlp_bias": ("mlp_bias", False),
        "classifier_bias": ("head_bias", False), "decoder_bias": ("output_bias", True),
        "global_attn_every_n_layers": ("global_every", 3), "global_rope_theta": ("global_base", 160_000.0),
        "local_rope_theta": ("local_base", 10_000.0),
    },
    written={"mlp_dropout": "dropout"},
    dropouts={"attention_dropout": ("attention_dropout", 0.0)},
    activations={
        "hidden_activation": ("activation", "gelu"), "classifier_activation": ("head_activation", "gelu"),
    },
    joined={"rope_parameters": ("global_scaling", None)},
    others={"sliding_window": None, "layer_types": None, "rope_scaling": None},
    silent=frozenset({
        "classifier_pooling", "deterministic_flash_attn", "initializer_cutoff_factor",
        "mlp_dropout", "reference_compile", "sparse_pred_ignore_index", "sparse_prediction",
    }),
)  # fmt: skip


ROPES = {"full_attention": ("global", "global_rope_theta"), "sliding_attention": ("local", "local_rope_theta")}
KINDS = Alternation(ROPES, scaled=ROPES)


def read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the options that are no field under another name."""
    values, window = KINDS.read(fields), fields["sliding_window"]
    if window is not None:
        refuse_unless(type(window) is int, "sliding_window", window, "a whole number")
        values["window"] = 2 * window
    return values


PRESET = Preset(
    name="modernbert",
    model_type="modernbert",
    architecture="ModernBertForMaskedLM",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=keys,
    fields=FIELDS,
    write=KINDS.write,
    read=read,
    objective="masked",
)
