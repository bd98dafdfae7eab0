"""XLM-RoBERTa: RoBERTa on a hundred languages, over a vocabulary of SentencePiece (Conneau et al. 2020).

Its sizes are BERT's.
"""

from dataclasses import replace

from trifold.presets import roberta
from trifold.presets.task_class import choice_class, encoder_classes, pooler

__all__ = ["PRESET"]

PRESET = replace(
    roberta.PRESET,
    name="xlm-roberta",
    model_type="xlm-roberta",
    architecture="XLMRobertaForMaskedLM",
    fields=roberta.FIELDS,
    small={
        "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 40,
        "max_position_embeddings": 32, "layer_norm_eps": 0.05, "type_vocab_size": 1, "pad_token_id": 1,
    },
    classes=encoder_classes(
        "XLMRoberta", "roberta.", {"dense": "classifier.dense", "output": "classifier.out_proj"}, dropout_first=True,
        choices=choice_class("XLMRoberta", "roberta."), spare=pooler("roberta."),
    ),
)  # fmt: skip
