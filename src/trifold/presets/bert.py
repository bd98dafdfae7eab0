"""BERT: an encoder with learned positions and post-norm (Devlin et al. 2019).

| size | layers | width | heads | parameters in the blocks |
|---|---|---|---|---|
| tiny | 4 | 128 | 4 | 0.8 M |
| mini | 6 | 256 | 4 | 4.7 M |
| small | 8 | 512 | 8 | 25 M |
| medium | 12 | 640 | 10 | 59 M |
| base | 12 | 768 | 12 | 85 M |
| large | 24 | 1024 | 16 | 302 M |
"""

from dataclasses import dataclass

from trifold.checkpoint import Entry, KeyMap, numbered, paired
from trifold.config import Count, Natural, Positive
from trifold.model import config
from trifold.presets.field import Fields
from trifold.presets.gpt2 import SIZES
from trifold.presets.options import Activation, Body
from trifold.presets.parts import attention, encoder_only, feed_forward
from trifold.presets.preset import Preset
from trifold.presets.task_class import pooler

__all__ = [
    "FIELDS",
    "PRESET",
    "SIZES",
    "Options",
    "build",
    "embedding_entries",
    "keys_under",
    "layer_entries",
    "output_entries",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Body):
    """What one may turn.

    `offset` rows stand before position 0 (RoBERTa: 2); `head_activation` None is `activation` (RoBERTa: always GELU).
    """

    num_segments: Count = 2
    offset: Natural = 0
    head_activation: Activation | None = None
    eps: Positive = 1e-12


def build(options: Options) -> config.Transformer:
    """The configuration."""
    norm = config.LayerNorm(eps=options.eps)
    residual = config.Residual(post_norm=norm, dropout=options.dropout)
    block = config.Block(
        attention=attention(options, residual, causal=False), feed_forward=feed_forward(options, residual)
    )
    position = config.Learned(max_length=options.max_length, offset=options.offset)
    segments, activation = options.num_segments, options.head_activation or options.activation
    embedding = config.Embedding(position=position, num_segments=segments, norm=norm, dropout=options.dropout)
    head = config.Head(tied=options.tied, bias=True, activation=activation, norm=norm)
    return encoder_only(options, [block] * options.num_layers, embedding=embedding, head=head)


LAYER = {
    "attention.branch.q_proj": "attention.self.query",
    "attention.branch.k_proj": "attention.self.key",
    "attention.branch.v_proj": "attention.self.value",
    "attention.branch.o_proj": "attention.output.dense",
    "attention.post_norm": "attention.output.LayerNorm",
    "feed_forward.branch.up_proj": "intermediate.dense",
    "feed_forward.branch.down_proj": "output.dense",
    "feed_forward.post_norm": "output.LayerNorm",
}


def layer_entries(body: str, num_layers: int) -> list[Entry]:
    """The key table of all layers; `body` is what their names begin with."""
    return numbered(paired(LAYER, ours="encoder.blocks.{}.", theirs=f"{body}encoder.layer.{{}}."), num_layers)


def embedding_entries(body: str) -> list[Entry]:
    """The key table of what tokens go in by."""
    names = {"tokens": "word_embeddings", "position": "position_embeddings", "segments": "token_type_embeddings"}
    tables = [Entry(f"{body}embeddings.{theirs}.weight", (f"embedding.{own}.weight",)) for own, theirs in names.items()]
    return [*paired({"embedding.norm": f"{body}embeddings.LayerNorm"}), *tables]


def output_entries(options: Body, weight: str, bias: str, other: str = "") -> list[Entry]:
    """The key table of the product with the vocabulary; `other` is a second name of the bias, "" for none."""
    if options.tied:
        copies = [(weight, "embedding.tokens.weight"), *([(other, "head.output.bias")] if other else [])]
        more = [Entry(theirs, (ours,), optional=True) for theirs, ours in copies]
        return [Entry(bias, ("head.output.bias",)), *more]
    own = Entry(weight, ("head.output.weight",))
    if not other:
        return [own, Entry(bias, ("head.output.bias",))]
    # their class still holds the first bias then, and does not use it
    used = Entry(other, ("head.output.bias",), otherwise=bias)
    return [own, used, Entry(bias, ("head.output.bias",), unused=True)]


def keys_under(options: Options, body: str, dense: str, norm: str, head: str) -> KeyMap:
    """The key table; the names are what those of the body begin with, and those of the head's parts."""
    entries = (
        *embedding_entries(body),
        *paired({"head.dense": dense, "head.norm": norm}),
        *output_entries(options, f"{head}.decoder.weight", f"{head}.bias", f"{head}.decoder.bias"),
        *layer_entries(body, options.num_layers),
    )
    return KeyMap(entries, frozenset({f"{body}embeddings.position_ids", *pooler(body, "cls.seq_relationship")}))


def keys(options: Options) -> KeyMap:
    """The key table; the pooler and the sentence-order head, which no objective here trains, are left out."""
    transform = "cls.predictions.transform"
    return keys_under(options, "bert.", f"{transform}.dense", f"{transform}.LayerNorm", "cls.predictions")


FIELDS = Fields(
    renamed={
        "num_hidden_layers": ("num_layers", 12), "hidden_size": ("d_model", 768), "num_attention_heads": ("num_heads", 12),
        "intermediate_size": ("d_ff", 3072), "max_position_embeddings": ("max_length", 512),
        "vocab_size": ("vocab_size", 30522), "type_vocab_size": ("num_segments", 2), "tie_word_embeddings": ("tied", True),
        "layer_norm_eps": ("eps", 1e-12), "hidden_dropout_prob": ("dropout", 0.1), "initializer_range": ("std", 0.02),
    },
    written={"intermediate_size": "inner"},
    dropouts={"attention_probs_dropout_prob": ("attention_dropout", 0.1)},
    activations={"hidden_act": ("activation", "gelu")},
    fixed={"position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,)},
)  # fmt: skip


PRESET = Preset(
    name="bert",
    model_type="bert",
    architecture="BertForMaskedLM",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=keys,
    fields=FIELDS | Fields(held={"offset": 0, "head_activation": None}, elsewhere={"offset": "roberta"}),
    objective="masked",
)
