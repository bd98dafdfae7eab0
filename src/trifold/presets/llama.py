"""Llama: a decoder with rotary positions, RMS norms and a gated feed-forward (Touvron et al. 2023).

`mistral`, `qwen2`, `qwen3` and `gemma3_text` are made from it, each in its own file.

| size | layers | width | heads (key-value) | d_ff | parameters in the blocks |
|---|---|---|---|---|---|
| tiny | 4 | 128 | 4 (2) | 384 | 0.8 M |
| mini | 6 | 256 | 4 (2) | 768 | 4.7 M |
| small | 8 | 512 | 8 (4) | 1408 | 24 M |
| medium | 12 | 640 | 10 (5) | 1728 | 55 M |
| base | 12 | 768 | 12 (4) | 2048 | 76 M |
| large | 24 | 1024 | 16 (4) | 2816 | 271 M |
"""

from dataclasses import dataclass, replace

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Chance, Count, Positive
from trifold.model import config
from trifold.presets import rotary
from trifold.presets.field import Fields
from trifold.presets.options import WIDTHS, Activation, Layered, LayerType, by_size, gated_width
from trifold.presets.parts import attention, decoder_only, layers
from trifold.presets.preset import Preset
from trifold.presets.task_class import decoder_classes

__all__ = [
    "FIELDS",
    "PRESET",
    "SIZES",
    "Options",
    "build",
    "keys",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Layered):
    """What one may turn.

    `num_kv_heads` None is `num_heads`; `head_size` None is the width over the heads; `d_ff` None is 8/3 of the width, up
    to the next multiple of 64; `window` is Mistral's, a token sees itself and `window - 1` before it, None for no limit;
    `layer_types` says which layers have that window (`sliding_attention`) and which none, None for all.
    """

    num_kv_heads: Count | None = None
    head_size: Count | None = None
    max_length: Count = 2048
    vocab_size: Count = 32000
    activation: Activation = "silu"
    eps: Positive = 1e-6
    rotary_base: Positive = 10_000.0
    rotary_scaling: rotary.Scaling | None = None
    window: Count | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    attention_dropout: Chance | None = 0.0

    @property
    def usual_kinds(self) -> tuple[LayerType, ...]:
        """What each layer sees unless the options say otherwise."""
        return ("full_attention" if self.window is None else "sliding_attention",) * self.num_layers

    @property
    def inner(self) -> int:
        """The feed-forward's width."""
        return self.d_ff or gated_width(self.d_model)

    @property
    def head_width(self) -> int:
        """The width of a head."""
        return self.head_size or self.d_model // self.num_heads

    @property
    def heads_share_width(self) -> bool:
        """Whether the width of a head is that of the model over their number."""
        return self.head_size is None

    @property
    def kv_heads(self) -> int:
        """The number of heads of keys and values."""
        return self.num_kv_heads or self.num_heads


SIZES = by_size({"num_layers": (4, 6, 8, 12, 12, 24), **WIDTHS, "num_kv_heads": (2, 2, 4, 5, 4, 4)})


def build(options: Options) -> config.Transformer:
    """The configuration."""
    norm = config.RMSNorm(eps=options.eps)
    residual = config.Residual(pre_norm=norm, dropout=options.dropout)
    whole = replace(
        attention(options, residual, causal=True),
        position=rotary.build_rotary(options.rotary_base, options.rotary_scaling),
        qkv_bias=options.qkv_bias,
        output_bias=options.output_bias,
    )
    local = replace(whole, window=None if options.window is None else options.window - 1)
    return decoder_only(options, layers(options, whole, local, residual), norm)


def keys(options: Options) -> KeyMap:
    """The key table."""
    block, theirs = "decoder.blocks.{}.", "model.layers.{}."
    kinds = {"q": options.qkv_bias, "k": options.qkv_bias, "v": options.qkv_bias, "o": options.output_bias}
    layer = [
        Entry(f"{theirs}input_layernorm.weight", (f"{block}attention.pre_norm.weight",)),
        Entry(f"{theirs}post_attention_layernorm.weight", (f"{block}feed_forward.pre_norm.weight",)),
    ]
    layer += [
        Entry(f"{theirs}self_attn.{name}_proj.{kind}", (f"{block}attention.branch.{name}_proj.{kind}",))
        for name, bias in kinds.items()
        for kind in (("weight", "bias") if bias else ("weight",))
    ]
    layer += [
        Entry(f"{theirs}mlp.{name}_proj.{kind}", (f"{block}feed_forward.branch.{name}_proj.{kind}",))
        for name in ("gate", "up", "down")
        for kind in (("weight", "bias") if options.mlp_bias else ("weight",))
    ]
    head = "embedding.tokens.weight" if options.tied else "head.output.weight"
    whole = [
        Entry("model.embed_tokens.weight", ("embedding.tokens.weight",)),
        Entry("model.norm.weight", ("decoder.final_norm.weight",)),
        Entry("lm_head.weight", (head,), optional=options.tied),
    ]
    buffers = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq" for n in range(options.num_layers)}
    return KeyMap((*whole, *numbered(layer, options.num_layers)), frozenset(buffers))


FIELDS = rotary.FIELDS | Fields(
    renamed={
        "num_hidden_layers": ("num_layers", 32), "hidden_size": ("d_model", 4096), "head_dim": ("head_size", None),
        "num_attention_heads": ("num_heads", 32), "num_key_value_heads": ("num_kv_heads", None),
        "intermediate_size": ("d_ff", 11008), "max_position_embeddings": ("max_length", 2048),
        "vocab_size": ("vocab_size", 32000), "rms_norm_eps": ("eps", 1e-6), "initializer_range": ("std", 0.02),
        "tie_word_embeddings": ("tied", False),
    },
    written={"num_key_value_heads": "kv_heads", "head_dim": "head_width", "intermediate_size": "inner"},
    activations={"hidden_act": ("activation", "silu")},
    dropouts={"attention_dropout": ("attention_dropout", 0.0)},
)  # fmt: skip
OWN_FIELDS = FIELDS | Fields(
    renamed={"mlp_bias": ("mlp_bias", False)},
    alike={"attention_bias": (("qkv_bias", "output_bias"), False)},
    held={"window": None},
    elsewhere={"window": "mistral", "qkv_bias": "qwen2"},
    silent=frozenset({"pretraining_tp"}),
)


PRESET = Preset(
    name="llama",
    model_type="llama",
    architecture="LlamaForCausalLM",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=keys,
    fields=OWN_FIELDS,
    write=rotary.write_rotary,
    read=rotary.read_rotary,
    objective="causal",
    small={
        "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 40,
        "max_position_embeddings": 32, "pad_token_id": 0, "num_key_value_heads": 2, "head_dim": 4, "rms_norm_eps": 0.05,
        "bos_token_id": 1, "eos_token_id": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 20.0},
    },
    classes=decoder_classes("Llama", "model.", asks="transformer."),
)  # fmt: skip
