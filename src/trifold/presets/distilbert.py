"""DistilBERT: BERT with half the layers, without segments and pooler (Sanh et al. 2019).

| size | layers | width | heads | parameters in the blocks |
|---|---|---|---|---|
| tiny | 2 | 128 | 4 | 0.4 M |
| mini | 3 | 256 | 4 | 2.4 M |
| small | 4 | 512 | 8 | 13 M |
| medium | 6 | 640 | 10 | 30 M |
| base | 6 | 768 | 12 | 43 M |
| large | 12 | 1024 | 16 | 151 M |
"""

from dataclasses import asdict, replace

from trifold.checkpoint import Entry, KeyMap, numbered, paired
from trifold.model import config
from trifold.presets import bert
from trifold.presets.field import Fields
from trifold.presets.options import Body
from trifold.presets.preset import Preset
from trifold.presets.task_class import encoder_classes

__all__ = ["PRESET"]


def build(options: Body) -> config.Transformer:
    """The configuration: BERT's without segments."""
    whole = bert.build(bert.Options(**asdict(options)))
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


def keys(options: Body) -> KeyMap:
    """The key table."""
    entries = (
        *paired(WHOLE),
        Entry("distilbert.embeddings.word_embeddings.weight", ("embedding.tokens.weight",)),
        Entry("distilbert.embeddings.position_embeddings.weight", ("embedding.position.weight",)),
        *bert.output_entries(options, "vocab_projector.weight", "vocab_projector.bias"),
        *numbered(
            paired(LAYER, ours="encoder.blocks.{}.", theirs="distilbert.transformer.layer.{}."), options.num_layers
        ),
    )
    return KeyMap(entries, frozenset({"distilbert.embeddings.position_ids"}))


FIELDS = Fields(
    renamed={
        "n_layers": ("num_layers", 6), "dim": ("d_model", 768), "n_heads": ("num_heads", 12), "hidden_dim": ("d_ff", 3072),
        "max_position_embeddings": ("max_length", 512), "vocab_size": ("vocab_size", 30522),
        "tie_word_embeddings": ("tied", True), "dropout": ("dropout", 0.1), "initializer_range": ("std", 0.02),
    },
    written={"hidden_dim": "inner"},
    dropouts={"attention_dropout": ("attention_dropout", 0.1)},
    activations={"activation": ("activation", "gelu")},
    silent=frozenset({"qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds"}),
    aliases={"num_hidden_layers": "n_layers", "hidden_size": "dim", "num_attention_heads": "n_heads"},
)  # fmt: skip


PRESET = Preset(
    name="distilbert",
    model_type="distilbert",
    architecture="DistilBertForMaskedLM",
    options=Body,
    sizes={name: {**size, "num_layers": size["num_layers"] // 2} for name, size in bert.SIZES.items()},
    build=build,
    keys=keys,
    fields=FIELDS,
    objective="masked",
    small={
        "n_layers": 2, "dim": 16, "n_heads": 4, "hidden_dim": 24, "vocab_size": 40, "max_position_embeddings": 32,
        "pad_token_id": 0,
    },
    classes=encoder_classes(
        "DistilBert", "distilbert.", {"dense": "pre_classifier", "output": "classifier"}, activation="relu",
        dropouts={"classification": ("seq_classif_dropout", 0.2), "tagging": ("dropout", 0.1),
                  "span_qa": ("qa_dropout", 0.1)},
    ),
)  # fmt: skip
