"""Gemma 3: a decoder of local and global layers with norms before and after each branch (Gemma Team 2025).

Every sixth layer sees everything, the others a window; each kind has its own rotary base. Each head's queries and keys have
a norm, and embeddings are multiplied by the root of the width. The sizes are Llama's.
"""

from dataclasses import dataclass, replace

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Count, Positive
from trifold.model import config
from trifold.presets import llama, qwen3
from trifold.presets.field import Fields
from trifold.presets.options import Activation, LayerType, alternate
from trifold.presets.rotary import Alternation, Scaling, build_rotary
from trifold.presets.task_class import decoder_classes

__all__ = ["PRESET", "Options", "build", "keys"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(llama.Options):
    """What one may turn besides Llama's, whose `rotary_base` and `rotary_scaling` are those of layers that see everything.

    `layer_types` None gives all layers a window but every `global_every`th; scores are divided by the root of
    `query_scalar`, None for the size of a head.
    """

    activation: Activation = "gelu_tanh"
    window: Count = 512
    global_every: Count = 6
    query_scalar: Count | None = None
    rotary_base: Positive = 1_000_000.0
    local_base: Positive = 10_000.0
    local_scaling: Scaling | None = None

    @property
    def usual_kinds(self) -> tuple[LayerType, ...]:
        """What each layer sees unless the options say otherwise."""
        return alternate(self.num_layers, self.global_every, first=self.global_every - 1)

    @property
    def scalar(self) -> int:
        """What the scores are divided by the root of."""
        return self.query_scalar or self.head_width


def build(options: Options) -> config.Transformer:
    """The configuration."""
    plain, norm = llama.build(options), config.OffsetRMSNorm(eps=options.eps)
    local = build_rotary(options.local_base, options.local_scaling)
    around = config.Residual(pre_norm=norm, branch_norm=norm, dropout=options.dropout)
    blocks = []
    for block in plain.main.blocks:
        position = block.attention.position if block.attention.window is None else local
        mine = {"position": position, "scale": options.scalar**-0.5, "head_norm": norm, "residual": around}
        feed_forward = replace(block.feed_forward, residual=around)
        blocks.append(config.Block(attention=replace(block.attention, **mine), feed_forward=feed_forward))  # type: ignore[arg-type]
    stack = replace(plain.main, blocks=tuple(blocks), final_norm=norm)
    return replace(plain, decoder=stack, embedding=replace(plain.embedding, scale=options.d_model**0.5))


RENAMED = {
    "post_attention_layernorm": "attention.branch_norm",
    "pre_feedforward_layernorm": "feed_forward.pre_norm",
    "post_feedforward_layernorm": "feed_forward.branch_norm",
}
"""Their names of norms that Llama lacks, or has in another place, and ours."""


def keys(options: Options) -> KeyMap:
    """The key table."""
    plain = qwen3.keys(options)
    kept = [entry for entry in plain.entries if "post_attention_layernorm" not in entry.theirs]
    norms = [
        Entry(f"model.layers.{{}}.{theirs}.weight", (f"decoder.blocks.{{}}.{ours}.weight",))
        for theirs, ours in RENAMED.items()
    ]
    return replace(plain, entries=(*kept, *numbered(norms, options.num_layers)), ignored=frozenset())


LACKS = ("hidden_act", "original_max_position_embeddings", "partial_rotary_factor")
SIZE = {
    "num_hidden_layers": 26, "hidden_size": 2304, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
    "intermediate_size": 9216, "max_position_embeddings": 131072, "vocab_size": 262208, "tie_word_embeddings": True,
    "rope_theta": 1_000_000.0,
}  # fmt: skip
FIELDS = llama.FIELDS.without(*LACKS).with_values(SIZE) | Fields(
    renamed={
        "query_pre_attn_scalar": ("query_scalar", 256),
        "sliding_window": ("window", 4096), "sliding_window_pattern": ("global_every", 6),
    },
    written={"query_pre_attn_scalar": "scalar"},
    alike={"attention_bias": (("qkv_bias", "output_bias"), False)},
    held={"mlp_bias": False},
    activations={"hidden_activation": ("activation", "gelu_pytorch_tanh")},
    joined={"rope_local_base_freq": ("local_base", 10_000.0)},
    others={"layer_types": None},
    fixed={"final_logit_softcapping": (None,), "attn_logit_softcapping": (None,),
           "use_bidirectional_attention": (False, None)},
    silent=frozenset({"_sliding_window_pattern"}),
)  # fmt: skip
KINDS = Alternation(
    {"full_attention": ("rotary", "rope_theta"), "sliding_attention": ("local", "rope_local_base_freq")},
    scaled=("full_attention",),
)


PRESET = replace(
    llama.PRESET,
    name="gemma3_text",
    model_type="gemma3_text",
    architecture="Gemma3ForCausalLM",
    options=Options,
    sizes=llama.SIZES,
    build=build,
    keys=keys,
    fields=FIELDS,
    write=KINDS.write,
    read=KINDS.read,
    small={
        **llama.PRESET.small, "sliding_window": 4, "sliding_window_pattern": 2, "query_pre_attn_scalar": 6,
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 90.0},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0}},
    },
    classes=decoder_classes("Gemma3Text", "model.", kinds=("classification",)),
    rebuilt=True,
)  # fmt: skip
