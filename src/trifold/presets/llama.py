"""Llama: a decoder with rotary positions, RMS norms and a gated feed-forward (Touvron et al. 2023).

`mistral` (sliding window) and `qwen2` (biases on queries, keys and values) are the same shape with one dial turned.

| size | layers | width | heads (key-value) | d_ff | parameters in the blocks |
|---|---|---|---|---|---|
| tiny | 4 | 128 | 4 (2) | 384 | 0.8 M |
| mini | 6 | 256 | 4 (2) | 768 | 4.7 M |
| small | 8 | 512 | 8 (4) | 1408 | 24 M |
| medium | 12 | 640 | 10 (5) | 1728 | 55 M |
| base | 12 | 768 | 12 (4) | 2048 | 76 M |
| large | 24 | 1024 | 16 (4) | 2816 | 271 M |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Chance, Config, Count, Natural, Positive, require
from trifold.model import config
from trifold.presets.preset import Preset, activation_name, pick, refuse_unless, their_activation

__all__ = ["LLAMA", "MISTRAL", "QWEN2", "Dials"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dials(Config):
    """What one may turn.

    `num_kv_heads` None is `num_heads`; `head_size` None is the width over the heads; `d_ff` None is 8/3 of the width, up
    to the next multiple of 64; `window` is Mistral's, a token sees itself and `window - 1` before it, None for no limit.
    """

    num_layers: Count = 12
    d_model: Count = 768
    num_heads: Count = 12
    num_kv_heads: Count | None = None
    head_size: Count | None = None
    d_ff: Count | None = None
    max_length: Count = 2048
    vocab_size: Count = 32000
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "silu"
    eps: Positive = 1e-6
    rotary_base: Positive = 10_000.0
    rotary_scaling: config.FrequencyScaling | None = None
    window: Count | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    tied: bool = True
    dropout: Chance = 0.0
    attention_dropout: Chance = 0.0
    std: Positive = 0.02
    full_layers: Natural = 0

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        divides = self.head_size is not None or self.d_model % self.num_heads == 0
        require(divides, where="num_heads", given=self.num_heads, allowed=f"a divisor of d_model = {self.d_model}")
        require(self.num_layers <= 1024, where="num_layers", given=self.num_layers, allowed="1 to 1024")

    @property
    def inner(self) -> int:
        """The feed-forward's width."""
        return self.d_ff or -(-8 * self.d_model // (3 * 64)) * 64


SIZES: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 4, "d_model": 128, "num_heads": 4, "num_kv_heads": 2},
    "mini": {"num_layers": 6, "d_model": 256, "num_heads": 4, "num_kv_heads": 2},
    "small": {"num_layers": 8, "d_model": 512, "num_heads": 8, "num_kv_heads": 4},
    "medium": {"num_layers": 12, "d_model": 640, "num_heads": 10, "num_kv_heads": 5},
    "base": {"num_layers": 12, "d_model": 768, "num_heads": 12, "num_kv_heads": 4},
    "large": {"num_layers": 24, "d_model": 1024, "num_heads": 16, "num_kv_heads": 4},
}


def build(dials: Dials) -> config.Transformer:
    """The configuration."""
    norm = config.RMSNorm(eps=dials.eps)
    residual = config.Residual(pre_norm=norm, dropout=dials.dropout)
    attention = config.Attention(
        num_heads=dials.num_heads,
        num_kv_heads=dials.num_kv_heads or dials.num_heads,
        head_size=dials.head_size or dials.d_model // dials.num_heads,
        causal=True,
        window=None if dials.window is None else dials.window - 1,
        position=config.Rotary(base=dials.rotary_base, scaling=dials.rotary_scaling),
        qkv_bias=dials.qkv_bias,
        output_bias=dials.output_bias,
        dropout=dials.attention_dropout,
        residual=residual,
    )
    feed_forward = config.FeedForward(
        d_ff=dials.inner, activation=dials.activation, gated=True, bias=dials.mlp_bias, residual=residual
    )
    local = config.Block(attention=attention, feed_forward=feed_forward)
    far = replace(local, attention=replace(attention, window=None))
    full = min(dials.full_layers, dials.num_layers)
    return config.Transformer(
        vocab_size=dials.vocab_size,
        d_model=dials.d_model,
        embedding=config.Embedding(dropout=dials.dropout),
        decoder=config.Stack(blocks=(far,) * full + (local,) * (dials.num_layers - full), final_norm=norm),
        head=config.Head(tied=dials.tied),
        initialization=config.Initialization(std=dials.std, scale_residual=True),
    )


def keys(dials: Dials) -> KeyMap:
    """The key table."""
    block, theirs = "decoder.blocks.{}.", "model.layers.{}."
    kinds = {"q": dials.qkv_bias, "k": dials.qkv_bias, "v": dials.qkv_bias, "o": dials.output_bias}
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
        for kind in (("weight", "bias") if dials.mlp_bias else ("weight",))
    ]
    head = "embedding.tokens.weight" if dials.tied else "head.output.weight"
    whole = [
        Entry("model.embed_tokens.weight", ("embedding.tokens.weight",)),
        Entry("model.norm.weight", ("decoder.final_norm.weight",)),
        Entry("lm_head.weight", (head,), optional=dials.tied),
    ]
    buffers = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq" for n in range(dials.num_layers)}
    return KeyMap((*whole, *numbered(layer, dials.num_layers)), frozenset(buffers))


def _write(dials: Dials) -> dict[str, Any]:
    scaling = dials.rotary_scaling
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": dials.rotary_base}
    if scaling is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_max_length,
        }
    return {
        "num_hidden_layers": dials.num_layers,
        "hidden_size": dials.d_model,
        "num_attention_heads": dials.num_heads,
        "num_key_value_heads": dials.num_kv_heads or dials.num_heads,
        "head_dim": dials.head_size or dials.d_model // dials.num_heads,
        "intermediate_size": dials.inner,
        "max_position_embeddings": dials.max_length,
        "vocab_size": dials.vocab_size,
        "hidden_act": their_activation(dials.activation),
        "rms_norm_eps": dials.eps,
        "rope_theta": dials.rotary_base,
        "rope_parameters": rope,
        "attention_dropout": dials.attention_dropout,
        "initializer_range": dials.std,
        "tie_word_embeddings": dials.tied,
    }


def _write_llama(dials: Dials) -> dict[str, Any]:
    same = dials.qkv_bias == dials.output_bias and dials.window is None
    refuse_unless(same, "qkv_bias, window", (dials.qkv_bias, dials.window), "preset qwen2 or mistral for these")
    return {**_write(dials), "attention_bias": dials.qkv_bias, "mlp_bias": dials.mlp_bias}


def _write_mistral(dials: Dials) -> dict[str, Any]:
    plain = not (dials.qkv_bias or dials.output_bias or dials.mlp_bias or dials.full_layers)
    refuse_unless(plain, "qkv_bias, output_bias, mlp_bias", True, "false with preset mistral")
    return {**_write(dials), "sliding_window": dials.window}


def _write_qwen2(dials: Dials) -> dict[str, Any]:
    plain = dials.qkv_bias and not dials.output_bias and not dials.mlp_bias
    refuse_unless(plain, "qkv_bias, output_bias, mlp_bias", dials.qkv_bias, "true, false, false with preset qwen2")
    windowed = dials.window is not None
    kinds = ["sliding_attention" if windowed and n >= dials.full_layers else "full_attention"
             for n in range(dials.num_layers)]  # fmt: skip
    more = {"use_sliding_window": windowed, "sliding_window": dials.window, "layer_types": kinds}
    return {**_write(dials), **more, "max_window_layers": dials.full_layers if windowed else dials.num_layers}


def _read(data: Mapping[str, Any]) -> dict[str, Any]:
    given = [data.get(name) or {} for name in ("rope_scaling", "rope_parameters")]
    refuse_unless(all(isinstance(one, dict) for one in given), "rope_parameters", given, "a mapping")
    rope = {**given[0], **given[1]}
    kind = rope.get("rope_type", rope.get("type", "default"))
    refuse_unless(kind in ("default", "llama3"), "rope_parameters.rope_type", kind, "default, llama3")
    values = pick(
        data,
        num_layers="num_hidden_layers",
        d_model="hidden_size",
        num_heads="num_attention_heads",
        num_kv_heads="num_key_value_heads",
        head_size="head_dim",
        d_ff="intermediate_size",
        max_length="max_position_embeddings",
        vocab_size="vocab_size",
        eps="rms_norm_eps",
        attention_dropout="attention_dropout",
        std="initializer_range",
    )
    scaling = pick(
        rope,
        factor="factor",
        low_freq_factor="low_freq_factor",
        high_freq_factor="high_freq_factor",
        original_max_length="original_max_position_embeddings",
    )
    return {
        **values,
        "activation": activation_name(data, "hidden_act", "silu"),
        "rotary_base": rope.get("rope_theta", data.get("rope_theta", 10_000.0)),
        "rotary_scaling": scaling if kind == "llama3" else None,
        "tied": data.get("tie_word_embeddings", False),
    }


def _read_llama(data: Mapping[str, Any]) -> dict[str, Any]:
    bias = data.get("attention_bias", False)
    return {**_read(data), "qkv_bias": bias, "output_bias": bias, "mlp_bias": data.get("mlp_bias", False)}


def _read_mistral(data: Mapping[str, Any]) -> dict[str, Any]:
    return {**_read(data), "window": data.get("sliding_window", 4096)}


def _read_qwen2(data: Mapping[str, Any]) -> dict[str, Any]:
    windowed = data.get("use_sliding_window", False)
    window = data.get("sliding_window") if windowed else None
    return {**_read(data), "qkv_bias": True, "window": window,
            "full_layers": data.get("max_window_layers", 28) if windowed else 0}  # fmt: skip


LLAMA = Preset(
    name="llama",
    model_type="llama",
    architecture="LlamaForCausalLM",
    dials=Dials,
    sizes=SIZES,
    build=build,
    keys=keys,
    write=_write_llama,
    read=_read_llama,
    prefix="model.",
    objective="causal",
)
MISTRAL = replace(
    LLAMA,
    name="mistral",
    model_type="mistral",
    architecture="MistralForCausalLM",
    sizes={name: {**size, "window": 512} for name, size in SIZES.items()},
    write=_write_mistral,
    read=_read_mistral,
)
QWEN2 = replace(
    LLAMA,
    name="qwen2",
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    sizes={name: {**size, "qkv_bias": True} for name, size in SIZES.items()},
    write=_write_qwen2,
    read=_read_qwen2,
)
