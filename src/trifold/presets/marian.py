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

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trifold.checkpoint import Entry, KeyMap, numbered
from trifold.config import Chance, Count, Natural, Positive, require
from trifold.model import config
from trifold.presets.field import Fields
from trifold.presets.options import Activation, Pair, Shape, by_size, require_heads
from trifold.presets.parts import attention, encoder_decoder, feed_forward
from trifold.presets.preset import Preset

__all__ = ["FIELDS", "PRESET", "SIZES", "Options", "build", "build_around", "keys"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Pair):
    """What one may turn.

    `d_ff` None is four times the width; what the decoder has None for is as in the encoder; `scale_embedding`
    multiplies tokens by the root of the width; `tied` False gives the head a matrix of its own; the vector of token `pad`,
    which the decoder starts from, is zero and stays so, as Marian's converters take for granted.
    """

    num_layers: Count = 6
    d_model: Count = 512
    num_heads: Count = 8
    num_decoder_heads: Count | None = None
    decoder_d_ff: Count | None = None
    max_length: Count = 1024
    vocab_size: Count = 37000
    pad: Natural | None = None
    activation: Activation = "relu"
    scale_embedding: bool = True
    attention_dropout: Chance = 0.0
    std: Positive = 0.02

    def __post_init__(self) -> None:
        Pair.__post_init__(self)
        require(self.d_model % 2 == 0, where="d_model", given=self.d_model, allowed="an even number")
        require_heads(self.d_model, num_heads=self.num_heads, num_decoder_heads=self.num_decoder_heads)
        pad = self.pad or 0
        require(pad < self.vocab_size, where="pad", given=pad, allowed=f"less than vocab_size = {self.vocab_size}")

    @property
    def writer(self) -> Shape:
        """The options of a layer of the decoder."""
        heads, inner = self.num_decoder_heads or self.num_heads, self.decoder_d_ff or self.inner
        return replace(self, num_heads=heads, d_ff=inner)


SIZES = by_size({
    "num_layers": (2, 4, 6, 6, 6, 6), "d_model": (128, 256, 256, 384, 512, 1024), "num_heads": (4, 4, 8, 6, 8, 16),
})  # fmt: skip


def build(options: Options) -> config.Transformer:
    """The configuration."""
    return build_around(options, config.Residual(post_norm=config.LayerNorm(), dropout=options.dropout))


def build_around(options: Options, residual: config.Residual) -> config.Transformer:
    """The configuration with other norms around the branches."""
    look = attention(options, residual, causal=False, dropout=options.attention_dropout)
    cross = attention(options.writer, residual, causal=False, dropout=options.attention_dropout)
    reads = config.Block(attention=look, feed_forward=feed_forward(options, residual))
    inner = feed_forward(options.writer, residual)
    writes = config.Block(attention=replace(cross, causal=True), cross_attention=cross, feed_forward=inner)
    embedding = config.Embedding(
        position=config.Sinusoidal(max_length=options.max_length),
        scale=options.d_model**0.5 if options.scale_embedding else 1.0,
        padding=options.pad,
        dropout=options.dropout,
    )
    head = config.Head(tied=options.tied, bias=True)
    drawn = config.Initialization(kind="xavier", std=options.std)
    return encoder_decoder(options, reads, writes, embedding=embedding, head=head, initialization=drawn)


def keys(options: Options) -> KeyMap:
    """The key table."""
    entries = [
        Entry("model.shared.weight", ("embedding.tokens.weight",)),
        Entry("final_logits_bias", ("head.output.bias",), change="unsqueeze"),
        Entry(
            "lm_head.weight",
            ("embedding.tokens.weight" if options.tied else "head.output.weight",),
            optional=options.tied,
        ),
    ]
    for stack, layers in options.depth.items():
        ours, theirs = f"{stack}.blocks.{{}}.", f"model.{stack}.layers.{{}}."
        branches = {"attention": "self_attn"} | ({"cross_attention": "encoder_attn"} if stack == "decoder" else {})
        layer = []
        for kind in ("weight", "bias"):
            for branch, name in branches.items():
                for projection in ("q", "k", "v", "out"):
                    place = f"{ours}{branch}.branch.{projection[0]}_proj.{kind}"
                    layer.append(Entry(f"{theirs}{name}.{projection}_proj.{kind}", (place,)))
                layer.append(Entry(f"{theirs}{name}_layer_norm.{kind}", (f"{ours}{branch}.post_norm.{kind}",)))
            feed = f"{ours}feed_forward."
            layer += [
                Entry(f"{theirs}fc1.{kind}", (f"{feed}branch.up_proj.{kind}",)),
                Entry(f"{theirs}fc2.{kind}", (f"{feed}branch.down_proj.{kind}",)),
                Entry(f"{theirs}final_layer_norm.{kind}", (f"{feed}post_norm.{kind}",)),
            ]
        entries += numbered(layer, layers)
        entries.append(Entry(f"model.{stack}.embed_tokens.weight", ("embedding.tokens.weight",), optional=True))
    stored = [f"model.{stack}.embed_positions.weight" for stack in options.depth]
    return KeyMap(tuple(entries), frozenset(stored), dict.fromkeys(stored, _are_sines))


def _are_sines(table: Tensor) -> bool:
    """Whether a stored table of positions is the one that is computed here."""
    rows, width = table.shape
    angle = torch.arange(rows).double()[:, None] * 10_000.0 ** (-torch.arange(0, width, 2).double() / width)
    sines, bound = torch.cat([angle.sin(), angle.cos()], dim=1), 1e-4 if table.dtype.itemsize >= 4 else 1e-2
    return torch.allclose(table.double(), sines, rtol=0, atol=bound)


FIELDS = Fields(
    renamed={
        "encoder_layers": ("num_layers", 12), "decoder_layers": ("num_decoder_layers", 12), "d_model": ("d_model", 1024),
        "encoder_attention_heads": ("num_heads", 16), "decoder_attention_heads": ("num_decoder_heads", 16),
        "encoder_ffn_dim": ("d_ff", 4096), "decoder_ffn_dim": ("decoder_d_ff", 4096),
        "max_position_embeddings": ("max_length", 1024), "vocab_size": ("vocab_size", 58101), "dropout": ("dropout", 0.1),
        "attention_dropout": ("attention_dropout", 0.0), "init_std": ("std", 0.02), "pad_token_id": ("pad", 58100),
        "scale_embedding": ("scale_embedding", False),
    },
    written={
        "decoder_layers": "decoder_layers", "num_hidden_layers": "num_layers", "encoder_ffn_dim": "inner",
        "decoder_ffn_dim": "writer.d_ff", "decoder_attention_heads": "writer.num_heads",
    },
    activations={"activation_function": ("activation", "gelu")},
    fixed={
        "tie_word_embeddings": (True,), "share_encoder_decoder_embeddings": (True,),
        "static_position_embeddings": (True,), "normalize_before": (False,), "normalize_embedding": (False,),
        "add_final_layer_norm": (False,),
    },
    silent=frozenset({
        "activation_dropout", "decoder_layerdrop", "decoder_vocab_size", "encoder_layerdrop", "is_decoder",
    }),
    aliases={"num_hidden_layers": "encoder_layers", "hidden_size": "d_model",
             "num_attention_heads": "encoder_attention_heads"},
)  # fmt: skip


def _name_padding(pad: int) -> dict[str, Any]:
    return {"pad": pad}


PRESET = Preset(
    name="vaswani",
    model_type="marian",
    architecture="MarianMTModel",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=keys,
    fields=FIELDS | Fields(written={"decoder_vocab_size": "vocab_size"}, published={"activation_dropout": 0.0}),
    objective="sequence_to_sequence",
    of_padding=_name_padding,
    pad_last=True,
)
