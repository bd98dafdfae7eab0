"""RoBERTa: BERT without segments, its positions counted from the padding's id (Liu et al. 2019).

Its sizes are BERT's.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trifold.checkpoint import KeyMap
from trifold.presets import bert
from trifold.presets.field import Fields, refuse_unless

__all__ = ["FIELDS", "PRESET", "keys", "read", "write"]

FIELDS = bert.FIELDS | Fields(others={"pad_token_id": 1})


def keys(options: bert.Options) -> KeyMap:
    """The key table."""
    return bert.keys_under(options, "roberta.", "lm_head.dense", "lm_head.layer_norm", "lm_head")


def write(options: bert.Options) -> dict[str, Any]:
    """The rest of Hugging Face's configuration."""
    head, first = options.head_activation or options.activation, options.offset
    refuse_unless(head == "gelu", "head_activation", head, "gelu with preset roberta")
    refuse_unless(first > 0, "offset", first, "1 or more with preset roberta")
    # positions are counted from the padding's id
    return {"max_position_embeddings": options.max_length + first, "pad_token_id": first - 1}


def read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the options that are no field under another name."""
    pad, places = fields["pad_token_id"], fields["max_position_embeddings"]
    refuse_unless(type(pad) is int and pad >= 0, "pad_token_id", pad, "0 or more")
    some = type(places) is int and places > pad + 1
    refuse_unless(some, "max_position_embeddings", places, f"more than pad_token_id + 1 = {pad + 1}")
    return {"max_length": places - pad - 1, "offset": pad + 1, "head_activation": "gelu"}


def _count_from_padding(pad: int) -> dict[str, Any]:
    return {"offset": pad + 1}


OWN = {"num_segments": 1, "offset": 2, "eps": 1e-5, "head_activation": "gelu"}
PRESET = replace(
    bert.PRESET,
    name="roberta",
    model_type="roberta",
    architecture="RobertaForMaskedLM",
    sizes={name: {**size, **OWN} for name, size in bert.SIZES.items()},
    keys=keys,
    fields=FIELDS.with_values({"vocab_size": 50265}),
    write=write,
    read=read,
    of_padding=_count_from_padding,
)
