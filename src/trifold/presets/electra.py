"""ELECTRA: BERT with a factorised embedding; its generator has a language-model head (Clark et al. 2020).

The discriminator opens as a body: whether a token was replaced is no objective here. Sizes are BERT's, with an embedding of
width 128 up to `medium` and of the model's own width from `base` on.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from trifold.checkpoint import KeyMap, paired
from trifold.config import Count, Positive
from trifold.model import config
from trifold.presets import bert
from trifold.presets.field import Fields, refuse_unless
from trifold.presets.options import Body
from trifold.presets.task_class import TaskClass, encoder_classes

__all__ = ["PRESET", "Options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Body):
    """What one may turn; a matrix follows the embedding where `embedding_size` differs from `d_model`."""

    embedding_size: Count = 128
    num_segments: Count = 2
    eps: Positive = 1e-12


def build(options: Options) -> config.Transformer:
    """The configuration: BERT's with an embedding of another width, and GELU in the head."""
    shared = {name: value for name, value in asdict(options).items() if name != "embedding_size"}
    whole = bert.build(bert.Options(**shared, head_activation="gelu"))
    width = options.embedding_size if options.embedding_size != options.d_model else None
    return replace(whole, embedding=replace(whole.embedding, width=width))


SPARE = tuple(
    f"discriminator_predictions.{name}.{kind}" for name in ("dense", "dense_prediction") for kind in ("weight", "bias")
)


def keys(options: Options) -> KeyMap:
    """The key table; the discriminator's head is kept beside it."""
    head = {"head.dense": "generator_predictions.dense", "head.norm": "generator_predictions.LayerNorm"}
    factor = {"embedding.project": "electra.embeddings_project"} if options.embedding_size != options.d_model else {}
    entries = (
        *bert.embedding_entries("electra."),
        *paired(factor | head),
        *bert.output_entries(options, "generator_lm_head.weight", "generator_lm_head.bias"),
        *bert.layer_entries("electra.", options.num_layers),
    )
    return KeyMap(entries, frozenset({"electra.embeddings.position_ids", *SPARE}))


FIELDS = bert.FIELDS.with_values({"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}) | Fields(
    renamed={"embedding_size": ("embedding_size", 128)},
    silent=frozenset({"summary_activation", "summary_last_dropout", "summary_type", "summary_use_proj"}),
)


def _summary(data: Mapping[str, Any]) -> dict[str, Any]:
    """The head for multiple choice, of the one shape that is computed here: what the class does unless told otherwise."""
    for name, usual in (("summary_type", "first"), ("summary_use_proj", True), ("summary_activation", "gelu")):
        refuse_unless(data.get(name, usual) == usual, name, data.get(name), str(usual))
    dropout = data.get("summary_last_dropout", 0.1)
    return {"pooling": "first", "dense": True, "activation": "gelu", "dropout": dropout}


CHOICES = TaskClass(
    "ElectraForMultipleChoice",
    _summary,
    {"dense": "sequence_summary.summary", "output": "classifier"},
    dropout="summary_last_dropout",
)


PRESET = replace(
    bert.PRESET,
    name="electra",
    model_type="electra",
    architecture="ElectraForMaskedLM",
    options=Options,
    sizes={name: {**size, "embedding_size": 128 if size["d_model"] < 768 else size["d_model"]}
           for name, size in bert.SIZES.items()},
    build=build,
    keys=keys,
    fields=FIELDS,
    small={
        "num_hidden_layers": 2, "hidden_size": 16, "embedding_size": 12, "num_attention_heads": 4,
        "intermediate_size": 24, "vocab_size": 40, "max_position_embeddings": 32, "layer_norm_eps": 0.05,
        "pad_token_id": 0,
    },
    classes=encoder_classes(
        "Electra", "electra.", {"dense": "classifier.dense", "output": "classifier.out_proj"}, activation="gelu",
        dropout_first=True, choices=CHOICES, spare=SPARE,
    ),
)  # fmt: skip
