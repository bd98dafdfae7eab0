"""ALBERT: BERT with a factorised embedding and layers that share their weights (Lan et al. 2020).

Sizes are BERT's with an embedding of width 128; all layers are one block, so that a deeper model has no more parameters.
"""

from dataclasses import asdict, dataclass, replace

from trifold.checkpoint import Entry, KeyMap, paired
from trifold.config import Count, Positive, require
from trifold.model import config
from trifold.presets import bert
from trifold.presets.field import Fields
from trifold.presets.options import Body
from trifold.presets.task_class import encoder_classes

__all__ = ["PRESET", "Options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(Body):
    """What one may turn.

    The `num_layers` are cut into `num_groups` runs; each layer of a run is the same `inner_layers` blocks.
    """

    embedding_size: Count = 128
    num_groups: Count = 1
    inner_layers: Count = 1
    num_segments: Count = 2
    eps: Positive = 1e-12

    def __post_init__(self) -> None:
        Body.__post_init__(self)
        fits, most = self.num_groups <= self.num_layers, f"at most num_layers = {self.num_layers}"
        require(fits, where="num_groups", given=self.num_groups, allowed=most)
        deep = self.num_layers * self.inner_layers
        require(deep <= 1024, where="inner_layers", given=self.inner_layers, allowed="1,024 blocks in all, at most")


def _places(options: Options) -> list[int]:
    """The number of the block that stands at each place of the stack."""
    groups = [int(layer / (options.num_layers / options.num_groups)) for layer in range(options.num_layers)]
    return [group * options.inner_layers + inner for group in groups for inner in range(options.inner_layers)]


def build(options: Options) -> config.Transformer:
    """The configuration: BERT's with shared blocks, between an embedding and a head of another width."""
    own = ("embedding_size", "num_groups", "inner_layers")
    whole = bert.build(bert.Options(**{name: value for name, value in asdict(options).items() if name not in own}))
    stack = whole.main
    shared = tuple(replace(stack.blocks[0], shared=number) for number in _places(options))
    embedding = replace(whole.embedding, width=options.embedding_size)
    return replace(whole, embedding=embedding, encoder=replace(stack, blocks=shared))


LAYER = {
    "attention.branch.q_proj": "attention.query",
    "attention.branch.k_proj": "attention.key",
    "attention.branch.v_proj": "attention.value",
    "attention.branch.o_proj": "attention.dense",
    "attention.post_norm": "attention.LayerNorm",
    "feed_forward.branch.up_proj": "ffn",
    "feed_forward.branch.down_proj": "ffn_output",
    "feed_forward.post_norm": "full_layer_layer_norm",
}
WHOLE = {
    "embedding.project": "albert.encoder.embedding_hidden_mapping_in",
    "head.dense": "predictions.dense",
    "head.norm": "predictions.LayerNorm",
}
SPARE = tuple(
    f"{name}.{kind}" for name in ("albert.pooler", "sop_classifier.classifier") for kind in ("weight", "bias")
)


def keys(options: Options) -> KeyMap:
    """The key table; a shared block has the name of the first place where it stands."""
    places, blocks = _places(options), list[Entry]()
    for number in range(options.num_groups * options.inner_layers):
        group, inner = divmod(number, options.inner_layers)
        theirs = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}."
        blocks += paired(LAYER, ours=f"encoder.blocks.{places.index(number)}.", theirs=theirs)
    entries = (
        *bert.embedding_entries("albert."),
        *paired(WHOLE),
        *bert.output_entries(options, "predictions.decoder.weight", "predictions.bias", "predictions.decoder.bias"),
        *blocks,
    )
    return KeyMap(entries, frozenset({"albert.embeddings.position_ids", *SPARE}))


SIZE = {
    "hidden_size": 4096, "num_attention_heads": 64, "intermediate_size": 16384, "vocab_size": 30000,
    "hidden_act": "gelu_new", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
FIELDS = replace(bert.FIELDS.with_values(SIZE), fixed={"position_embedding_type": ("absolute",)}) | Fields(
    renamed={
        "embedding_size": ("embedding_size", 128), "num_hidden_groups": ("num_groups", 1),
        "inner_group_num": ("inner_layers", 1),
    },
    silent=frozenset({"classifier_dropout_prob"}),
)  # fmt: skip
OWN = {"vocab_size": 30000, "activation": "gelu_tanh", "dropout": 0.0}


PRESET = replace(
    bert.PRESET,
    name="albert",
    model_type="albert",
    architecture="AlbertForMaskedLM",
    options=Options,
    sizes={name: {**size, **OWN} for name, size in bert.SIZES.items()},
    build=build,
    keys=keys,
    fields=FIELDS,
    small={
        "num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2, "hidden_size": 16, "embedding_size": 12,
        "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 40, "max_position_embeddings": 32,
        "layer_norm_eps": 0.05, "pad_token_id": 0,
    },
    classes=encoder_classes(
        "Albert", "albert.", {"dense": "albert.pooler", "output": "classifier"}, spare=SPARE,
        dropouts=dict.fromkeys(("classification", "tagging"), ("classifier_dropout_prob", 0.1)),
    ),
)  # fmt: skip
