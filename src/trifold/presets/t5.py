"""T5: an encoder-decoder with relative position biases and RMS norms (Raffel et al. 2020).

This is v1.0, with a ReLU feed-forward and a head tied to the embedding; v1.1 is `trifold.presets.t5_v1_1`.

| size | layers (encoder + decoder) | width | heads | d_ff |
|---|---|---|---|---|
| tiny | 3 + 3 | 128 | 4 | 512 |
| mini | 4 + 4 | 256 | 4 | 1024 |
| small | 6 + 6 | 512 | 8 | 2048 (T5 small) |
| medium | 8 + 8 | 640 | 10 | 2560 |
| base | 12 + 12 | 768 | 12 | 3072 (T5 base) |
| large | 24 + 24 | 1024 | 16 | 4096 |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Count, Positive
from trifold.model import config
from trifold.presets.field import ACTIVATIONS, Fields, activation_name, refuse_unless
from trifold.presets.options import WIDTHS, Activation, Pair, by_size
from trifold.presets.parts import attention, encoder_decoder, feed_forward
from trifold.presets.preset import Preset

__all__ = ["BIAS", "FIELDS", "PRESET", "SIZES", "Options", "build", "keys", "read"]

BIAS = "{}.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
"""The positions of a layer of a stack."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Pair):
    """What one may turn.

    `scale_output` (None: as `tied`) divides what the head reads by the root of the width.
    """

    head_size: Count = 64
    vocab_size: Count = 32128
    gated: bool = False
    activation: Activation = "relu"
    scale_output: bool | None = None
    num_buckets: Count = 32
    max_distance: Count = 128
    eps: Positive = 1e-6

    @property
    def head_width(self) -> int:
        """The width of a head."""
        return self.head_size

    @property
    def scaled(self) -> bool:
        """Whether what the head reads is divided by the root of the width."""
        return self.tied if self.scale_output is None else self.scale_output


SIZES = by_size({"num_layers": (3, 4, 6, 8, 12, 24), **WIDTHS, "head_size": (32, 64, 64, 64, 64, 64)})


def build(options: Options) -> config.Transformer:
    """The configuration; scores are not scaled, the initialization carries that factor instead."""
    norm = config.RMSNorm(eps=options.eps)
    residual = config.Residual(pre_norm=norm, dropout=options.dropout)
    cross = replace(attention(options, residual, causal=False, bias=False), scale=1.0)
    inner = replace(feed_forward(options, residual), gated=options.gated, bias=False, dropout=options.dropout)
    both = config.RelativeBias(num_buckets=options.num_buckets, max_distance=options.max_distance, bidirectional=True)
    reads = config.Block(attention=replace(cross, position=both), feed_forward=inner)
    first = replace(cross, causal=True, position=replace(both, bidirectional=False))
    writes = config.Block(attention=first, cross_attention=cross, feed_forward=inner)
    embedding = config.Embedding(dropout=options.dropout)
    head = config.Head(tied=options.tied, scale=options.d_model**-0.5 if options.scaled else 1.0)
    drawn = config.Initialization(kind="fan_in")
    return encoder_decoder(options, reads, writes, embedding=embedding, head=head, initialization=drawn, norm=norm)


def keys(options: Options) -> KeyMap:
    """The key table."""
    entries = [Entry("shared.weight", ("embedding.tokens.weight",))]
    for stack, layers in options.depth.items():
        ours, theirs = f"{stack}.blocks.{{}}.", f"{stack}.block.{{}}.layer."
        branches = [("attention", "SelfAttention")]
        branches += [("cross_attention", "EncDecAttention")] if stack == "decoder" else []
        layer = []
        for number, (branch, name) in enumerate(branches):
            layer.append(Entry(f"{theirs}{number}.layer_norm.weight", (f"{ours}{branch}.pre_norm.weight",)))
            for projection in "qkvo":
                place = f"{ours}{branch}.branch.{projection}_proj.weight"
                layer.append(Entry(f"{theirs}{number}.{name}.{projection}.weight", (place,)))
        feed, last = f"{ours}feed_forward.", f"{theirs}{len(branches)}."
        layer.append(Entry(f"{last}layer_norm.weight", (f"{feed}pre_norm.weight",)))
        inner = {"wi_0": "gate", "wi_1": "up", "wo": "down"} if options.gated else {"wi": "up", "wo": "down"}
        layer += [
            Entry(f"{last}DenseReluDense.{name}.weight", (f"{feed}branch.{projection}_proj.weight",))
            for name, projection in inner.items()
        ]
        entries += [
            *numbered(layer, layers),
            Entry(BIAS.format(stack, 0), (f"{stack}.positions.0.table.weight",)),
            Entry(f"{stack}.final_layer_norm.weight", (f"{stack}.final_norm.weight",)),
            Entry(f"{stack}.embed_tokens.weight", ("embedding.tokens.weight",), optional=True),
        ]
    head = "embedding.tokens.weight" if options.tied else "head.output.weight"
    # recent transformers leave the head out of files in which it happens to equal the embedding
    entries.append(Entry("lm_head.weight", (head,), optional=options.tied, otherwise="shared.weight"))
    cross = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"  # in v1.0 files, never used
    return KeyMap(tuple(entries), frozenset({cross}))


FEED_FORWARDS = {
    f"{gate}{name}": (bool(gate), ours) for gate in ("", "gated-") for name, ours in ACTIVATIONS.items()
} | {"gated-gelu": (True, "gelu_tanh")}  # the published files' name
"""Their names of feed-forwards: whether there is a gate, and our name of the activation."""
DERIVED = "derived"
"""Stands for a field that follows from others where the file leaves it out."""
FIELDS = Fields(
    renamed={
        "num_layers": ("num_layers", 6), "num_decoder_layers": ("num_decoder_layers", None), "d_model": ("d_model", 512),
        "num_heads": ("num_heads", 8), "d_kv": ("head_size", 64), "d_ff": ("d_ff", 2048),
        "vocab_size": ("vocab_size", 32128), "relative_attention_num_buckets": ("num_buckets", 32),
        "relative_attention_max_distance": ("max_distance", 128), "layer_norm_epsilon": ("eps", 1e-6),
        "dropout_rate": ("dropout", 0.1),
    },
    written={"num_decoder_layers": "decoder_layers", "d_ff": "inner", "scale_decoder_outputs": "scaled"},
    joined={"is_gated_act": ("gated", DERIVED), "scale_decoder_outputs": ("tied", DERIVED)},
    others={"feed_forward_proj": "relu", "dense_act_fn": DERIVED, "tie_word_embeddings": True},
    silent=frozenset({"initializer_factor", "is_decoder"}),
    aliases={"hidden_size": "d_model", "num_attention_heads": "num_heads", "num_hidden_layers": "num_layers",
             "head_dim": "d_kv"},
)  # fmt: skip


def write(options: Options) -> dict[str, Any]:
    """The rest of Hugging Face's configuration."""
    kind = (options.gated, options.activation)
    name = next(theirs for theirs, ours in FEED_FORWARDS.items() if ours == kind)
    return {"feed_forward_proj": name, "tie_word_embeddings": options.tied or options.scaled}


def read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the options that are no field under another name."""
    name, inner = fields["feed_forward_proj"], fields["dense_act_fn"]
    refuse_unless(str(name) in FEED_FORWARDS, "feed_forward_proj", name, ", ".join(FEED_FORWARDS))
    gated, activation = FEED_FORWARDS[str(name)]
    activation = activation if inner == DERIVED else activation_name("dense_act_fn", inner)
    # transformers writes tie_word_embeddings true always; whether the output is scaled tells v1.0 from v1.1
    derived = {"is_gated_act": gated, "scale_decoder_outputs": fields["tie_word_embeddings"] is not False}
    gated, scaled = (usual if fields[name] == DERIVED else fields[name] for name, usual in derived.items())
    return {"gated": gated, "activation": activation, "tied": scaled, "scale_output": scaled}


PRESET = Preset(
    name="t5",
    model_type="t5",
    architecture="T5ForConditionalGeneration",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=keys,
    fields=FIELDS,
    write=write,
    read=read,
    objective="denoising",
)
