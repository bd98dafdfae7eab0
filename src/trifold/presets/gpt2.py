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

from dataclasses import dataclass, replace

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Count, Positive
from trifold.model import config
from trifold.presets.field import Fields
from trifold.presets.options import WIDTHS, Activation, Body, by_size
from trifold.presets.parts import attention, decoder_only, feed_forward
from trifold.presets.preset import Preset
from trifold.presets.task_class import decoder_classes

__all__ = ["PRESET", "Options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Body):
    """What one may turn.

    Without `scale_scores` the scores of attention are not divided by the root of the head size; with `scale_by_layer`
    those of layer n are divided by n.
    """

    max_length: Count = 1024
    vocab_size: Count = 50257
    activation: Activation = "gelu_tanh"
    scale_scores: bool = True
    scale_by_layer: bool = False
    eps: Positive = 1e-5


SIZES = by_size({"num_layers": (4, 6, 8, 12, 12, 24), **WIDTHS})


def build(options: Options) -> config.Transformer:
    """The configuration."""
    norm = config.LayerNorm(eps=options.eps)
    residual = config.Residual(pre_norm=norm, dropout=options.dropout)
    look, inner = attention(options, residual, causal=True), feed_forward(options, residual)
    blocks = [
        config.Block(attention=replace(look, scale=_scale(options, layer)), feed_forward=inner)
        for layer in range(1, options.num_layers + 1)
    ]
    return decoder_only(options, blocks, norm, config.Learned(max_length=options.max_length))


def _scale(options: Options, layer: int) -> float | None:
    """What the scores of a layer are multiplied by; None for the usual."""
    if options.scale_scores and not options.scale_by_layer:
        return None
    usual = options.head_width**-0.5 if options.scale_scores else 1.0
    return usual / layer if options.scale_by_layer else usual


def keys(options: Options) -> KeyMap:
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
        Entry(
            "lm_head.weight",
            ("embedding.tokens.weight" if options.tied else "head.output.weight",),
            optional=options.tied,
        ),
    ]
    buffers = {f"transformer.h.{n}.attn.{name}" for n in range(options.num_layers) for name in ("bias", "masked_bias")}
    return KeyMap((*whole, *numbered(layer, options.num_layers)), frozenset(buffers))


FIELDS = Fields(
    renamed={
        "n_layer": ("num_layers", 12), "n_embd": ("d_model", 768), "n_head": ("num_heads", 12), "n_inner": ("d_ff", None),
        "n_positions": ("max_length", 1024), "vocab_size": ("vocab_size", 50257), "layer_norm_epsilon": ("eps", 1e-5),
        "resid_pdrop": ("dropout", 0.1), "initializer_range": ("std", 0.02), "tie_word_embeddings": ("tied", True),
        "scale_attn_weights": ("scale_scores", True), "scale_attn_by_inverse_layer_idx": ("scale_by_layer", False),
    },
    written={"embd_pdrop": "dropout"},
    dropouts={"attn_pdrop": ("attention_dropout", 0.1)},
    activations={"activation_function": ("activation", "gelu_new")},
    fixed={"add_cross_attention": (False,)},
    silent=frozenset({
        "embd_pdrop", "reorder_and_upcast_attn", "summary_activation", "summary_first_dropout",
        "summary_proj_to_labels", "summary_type", "summary_use_proj",
    }),
    aliases={"hidden_size": "n_embd", "max_position_embeddings": "n_positions", "num_attention_heads": "n_head",
             "num_hidden_layers": "n_layer"},
)  # fmt: skip


PRESET = Preset(
    name="gpt2",
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=keys,
    fields=FIELDS,
    objective="causal",
    small={"n_layer": 2, "n_embd": 16, "n_head": 4, "n_positions": 32, "vocab_size": 40, "layer_norm_epsilon": 0.05,
           "bos_token_id": 1, "eos_token_id": 2},
    classes=decoder_classes("GPT2", "transformer.", tags="classifier"),
)  # fmt: skip
