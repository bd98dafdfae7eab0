"""BERT and RoBERTa: encoders with learned positions and post-norm (Devlin et al. 2019; Liu et al. 2019).

| size | layers | width | heads | parameters in the blocks |
|---|---|---|---|---|
| tiny | 4 | 128 | 4 | 0.8 M |
| mini | 6 | 256 | 4 | 4.7 M |
| small | 8 | 512 | 8 | 25 M |
| medium | 12 | 640 | 10 | 59 M |
| base | 12 | 768 | 12 | 85 M |
| large | 24 | 1024 | 16 | 302 M |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from trifold.checkpoint import Entry, KeyMap, numbered, paired
from trifold.config import Chance, Config, Count, Natural, Positive, require
from trifold.model import config
from trifold.presets.field import Fields, refuse_unless
from trifold.presets.gpt2 import SIZES
from trifold.presets.preset import Preset
from trifold.presets.task_class import pooler

__all__ = ["BERT", "ROBERTA", "Body", "Options", "embedding_entries", "layer_entries", "output_entries"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Body(Config):
    """What one may turn in every family of this shape.

    `d_ff` None is four times the width; `tied` False gives the head a matrix of its own.
    """

    num_layers: Count = 12
    d_model: Count = 768
    num_heads: Count = 12
    d_ff: Count | None = None
    max_length: Count = 512
    vocab_size: Count = 30522
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "gelu"
    tied: bool = True
    dropout: Chance = 0.1
    std: Positive = 0.02

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        divides = self.d_model % self.num_heads == 0
        require(divides, where="num_heads", given=self.num_heads, allowed=f"a divisor of d_model = {self.d_model}")
        require(self.num_layers <= 1024, where="num_layers", given=self.num_layers, allowed="1 to 1024")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Body):
    """What one may turn.

    `offset` rows stand before position 0 (RoBERTa: 2); `head_activation` None is `activation` (RoBERTa: always GELU).
    """

    num_segments: Count = 2
    offset: Natural = 0
    head_activation: Literal["relu", "gelu", "gelu_tanh", "silu"] | None = None
    eps: Positive = 1e-12


def build(options: Options) -> config.Transformer:
    """The configuration."""
    norm = config.LayerNorm(eps=options.eps)
    residual = config.Residual(post_norm=norm, dropout=options.dropout)
    attention = config.Attention(
        num_heads=options.num_heads,
        num_kv_heads=options.num_heads,
        head_size=options.d_model // options.num_heads,
        causal=False,
        dropout=options.dropout,
        residual=residual,
    )
    feed_forward = config.FeedForward(
        d_ff=options.d_ff or 4 * options.d_model, activation=options.activation, residual=residual
    )
    block = config.Block(attention=attention, feed_forward=feed_forward)
    return config.Transformer(
        vocab_size=options.vocab_size,
        d_model=options.d_model,
        embedding=config.Embedding(
            position=config.Learned(max_length=options.max_length, offset=options.offset),
            num_segments=options.num_segments,
            norm=norm,
            dropout=options.dropout,
        ),
        encoder=config.Stack(blocks=(block,) * options.num_layers),
        head=config.Head(
            tied=options.tied, bias=True, activation=options.head_activation or options.activation, norm=norm
        ),
        initialization=config.Initialization(std=options.std),
    )


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


def _keys(options: Options, body: str, dense: str, norm: str, head: str) -> KeyMap:
    entries = (
        *embedding_entries(body),
        *paired({"head.dense": dense, "head.norm": norm}),
        *output_entries(options, f"{head}.decoder.weight", f"{head}.bias", f"{head}.decoder.bias"),
        *layer_entries(body, options.num_layers),
    )
    return KeyMap(entries, frozenset({f"{body}embeddings.position_ids", *pooler(body, "cls.seq_relationship")}))


def bert_keys(options: Options) -> KeyMap:
    """BERT's key table; its pooler and sentence-order head, which no objective here trains, are left out."""
    transform = "cls.predictions.transform"
    return _keys(options, "bert.", f"{transform}.dense", f"{transform}.LayerNorm", "cls.predictions")


def roberta_keys(options: Options) -> KeyMap:
    """RoBERTa's key table."""
    return _keys(options, "roberta.", "lm_head.dense", "lm_head.layer_norm", "lm_head")


FIELDS = Fields(
    defaults={
        "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072,
        "max_position_embeddings": 512, "vocab_size": 30522, "type_vocab_size": 2, "tie_word_embeddings": True,
        "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "initializer_range": 0.02, "hidden_act": "gelu",
    },
    plain={
        "num_hidden_layers": "num_layers", "hidden_size": "d_model", "num_attention_heads": "num_heads",
        "intermediate_size": "d_ff", "max_position_embeddings": "max_length", "vocab_size": "vocab_size",
        "type_vocab_size": "num_segments", "tie_word_embeddings": "tied", "layer_norm_eps": "eps",
        "hidden_dropout_prob": "dropout", "initializer_range": "std",
    },
    activations={"hidden_act": "activation"},
    fixed={"position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,)},
    silent=frozenset({"attention_probs_dropout_prob"}),
)  # fmt: skip


def _write_bert(options: Options) -> dict[str, Any]:
    plain = options.offset == 0 and options.head_activation in (None, options.activation)
    refuse_unless(
        plain, "offset, head_activation", (options.offset, options.head_activation), "preset roberta for these"
    )
    return {"intermediate_size": options.d_ff or 4 * options.d_model, "attention_probs_dropout_prob": options.dropout}


def _write_roberta(options: Options) -> dict[str, Any]:
    head = options.head_activation or options.activation
    refuse_unless(head == "gelu", "head_activation", head, "gelu with preset roberta")
    refuse_unless(options.offset > 0, "offset", options.offset, "1 or more with preset roberta")
    inner, places = options.d_ff or 4 * options.d_model, options.max_length + options.offset
    return {
        "intermediate_size": inner,
        "max_position_embeddings": places,
        "attention_probs_dropout_prob": options.dropout,
        "pad_token_id": options.offset - 1,  # positions are counted from it
    }


def _read_roberta(given: Mapping[str, Any]) -> dict[str, Any]:
    pad, places = given["pad_token_id"], given["max_position_embeddings"]
    refuse_unless(type(pad) is int and pad >= 0, "pad_token_id", pad, "0 or more")
    some = type(places) is int and places > pad + 1
    refuse_unless(some, "max_position_embeddings", places, f"more than pad_token_id + 1 = {pad + 1}")
    return {"max_length": places - pad - 1, "offset": pad + 1, "head_activation": "gelu"}


BERT = Preset(
    name="bert",
    model_type="bert",
    architecture="BertForMaskedLM",
    options=Options,
    sizes=SIZES,
    build=build,
    keys=bert_keys,
    fields=FIELDS,
    write=_write_bert,
    prefix="bert.",
    table="bert.embeddings.word_embeddings.weight",
    output="cls.predictions.decoder.weight",
    objective="masked",
)


def _count_from_padding(pad: int) -> dict[str, Any]:
    return {"offset": pad + 1}


ROBERTA = replace(
    BERT,
    name="roberta",
    model_type="roberta",
    architecture="RobertaForMaskedLM",
    sizes={
        name: {**size, "num_segments": 1, "offset": 2, "eps": 1e-5, "head_activation": "gelu"}
        for name, size in SIZES.items()
    },
    keys=roberta_keys,
    fields=replace(FIELDS, defaults={**FIELDS.defaults, "vocab_size": 50265, "pad_token_id": 1}),
    write=_write_roberta,
    read=_read_roberta,
    prefix="roberta.",
    table="roberta.embeddings.word_embeddings.weight",
    output="lm_head.decoder.weight",
    of_padding=_count_from_padding,
)
