"""DistilBERT: BERT with half the layers, without segments and pooler (Sanh et al. 2019).

| size | layers | width | heads | parameters in the blocks |
|---|---|---|---|---|
| tiny | 4 | 128 | 4 | 0.8 M |
| mini | 6 | 256 | 4 | 4.7 M |
| small | 8 | 512 | 8 | 25 M |
| medium | 12 | 640 | 10 | 59 M |
| base | 6 | 768 | 12 | 43 M |
| large | 24 | 1024 | 16 | 302 M |
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from trifold.checkpoint import Entry, KeyMap, numbered, paired
from trifold.config import Chance, Config, Count, Positive
from trifold.model import config
from trifold.presets import bert
from trifold.presets.field import Fields
from trifold.presets.gpt2 import SIZES
from trifold.presets.preset import Preset
from trifold.presets.task_class import FamilyClasses, TaskClass

__all__ = ["PRESET", "Dials"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dials(Config):
    """What one may turn; `d_ff` None is four times the width, and `tied` False gives the head a matrix of its own."""

    num_layers: Count = 6
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
        bert.Dials(**asdict(self))  # has the same rules


def build(dials: Dials) -> config.Transformer:
    """The configuration: BERT's without segments."""
    whole = bert.build(bert.Dials(**asdict(dials)))
    return replace(whole, embedding=replace(whole.embedding, num_segments=0))


LAYER = {
    "attention.branch.q_proj": "attention.q_lin",
    "attention.branch.k_proj": "attention.k_lin",
    "attention.branch.v_proj": "attention.v_lin",
    "attention.branch.o_proj": "attention.out_lin",
    "attention.post_norm": "sa_layer_norm",
    "feed_forward.branch.up_proj": "ffn.lin1",
    "feed_forward.branch.down_proj": "ffn.lin2",
    "feed_forward.post_norm": "output_layer_norm",
}
WHOLE = {
    "embedding.norm": "distilbert.embeddings.LayerNorm",
    "head.dense": "vocab_transform",
    "head.norm": "vocab_layer_norm",
}


def keys(dials: Dials) -> KeyMap:
    """The key table."""
    layer = paired(LAYER, ours="encoder.blocks.{}.", theirs="distilbert.transformer.layer.{}.")
    words = "distilbert.embeddings.word_embeddings.weight"
    table, output = ("embedding.tokens.weight",), ("head.output.weight",)
    places = Entry("distilbert.embeddings.position_embeddings.weight", ("embedding.position.weight",))
    bias = Entry("vocab_projector.bias", ("head.output.bias",))
    head = Entry("vocab_projector.weight", table if dials.tied else output, optional=dials.tied)
    entries = (*paired(WHOLE), Entry(words, table), places, bias, head, *numbered(layer, dials.num_layers))
    return KeyMap(entries, frozenset({"distilbert.embeddings.position_ids"}))


FIELDS = Fields(
    defaults={
        "n_layers": 6, "dim": 768, "n_heads": 12, "hidden_dim": 3072, "max_position_embeddings": 512,
        "vocab_size": 30522, "tie_word_embeddings": True, "dropout": 0.1, "initializer_range": 0.02,
        "activation": "gelu",
    },
    plain={
        "n_layers": "num_layers", "dim": "d_model", "n_heads": "num_heads", "hidden_dim": "d_ff",
        "max_position_embeddings": "max_length", "vocab_size": "vocab_size", "tie_word_embeddings": "tied",
        "dropout": "dropout", "initializer_range": "std",
    },
    activations={"activation": "activation"},
    silent=frozenset({"attention_dropout", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds"}),
    aliases={"num_hidden_layers": "n_layers", "hidden_size": "dim", "num_attention_heads": "n_heads"},
)  # fmt: skip
CLASSES = FamilyClasses(
    "DistilBertModel",
    "distilbert.",
    {
        "classification": TaskClass(
            "DistilBertForSequenceClassification",
            lambda data: {"pooling": "first", "dense": True, "activation": "relu",
                          "dropout": data.get("seq_classif_dropout", 0.2)},
            {"dense": "pre_classifier", "output": "classifier"},
            dropout="seq_classif_dropout",
        ),
        "tagging": TaskClass(
            "DistilBertForTokenClassification",
            lambda data: {"dropout": data.get("dropout", 0.1)},
            {"output": "classifier"},
            dropout="",
        ),
        "span_qa": TaskClass(
            "DistilBertForQuestionAnswering",
            lambda data: {"dropout": data.get("qa_dropout", 0.1)},
            {"output": "qa_outputs"},
            dropout="qa_dropout",
        ),
    },
)  # fmt: skip


def write(dials: Dials) -> dict[str, Any]:
    """The rest of Hugging Face's configuration."""
    return {"hidden_dim": dials.d_ff or 4 * dials.d_model, "attention_dropout": dials.dropout, "dropout": dials.dropout}


PRESET = Preset(
    name="distilbert",
    model_type="distilbert",
    architecture="DistilBertForMaskedLM",
    dials=Dials,
    sizes={**SIZES, "base": {"num_layers": 6, "d_model": 768, "num_heads": 12}},
    build=build,
    keys=keys,
    fields=FIELDS,
    write=write,
    prefix="distilbert.",
    table="distilbert.embeddings.word_embeddings.weight",
    output="vocab_projector.weight",
    objective="masked",
    small={
        "n_layers": 2, "dim": 16, "n_heads": 4, "hidden_dim": 24, "vocab_size": 40, "max_position_embeddings": 32,
        "pad_token_id": 0,
    },
    classes=CLASSES,
)  # fmt: skip
