"""Checks of what is written to disk."""

from typing import Any

import torch
from torch import Tensor

from trifold.doctor.finding import Finding, difference, measured, not_for
from trifold.doctor.subject import Subject
from trifold.presets.pretrained import Transformer
from trifold.text import Tokenizer

__all__ = ["export", "saved"]

LENGTH = 12
FLOAT32 = 1e-5
"""Parts of transformers compute in float32 whatever the weights are."""


def saved(subject: Subject) -> Finding:
    """What is saved and loaded again is the same model and the same tokenizer, bit by bit."""
    folder = subject.place / "saved"
    exact = next(subject.model.parameters()).dtype
    subject.model.save_pretrained(folder, tokenizer=subject.tokenizer)
    again = Transformer.from_pretrained(folder, dtype=exact)
    other = dict(again.named_parameters())
    wrong = [
        name
        for name, value in subject.model.named_parameters()
        if name in other and not torch.equal(value, other[name])
    ]
    lost = [name for name, _ in subject.model.named_parameters() if name not in other and not name.startswith("heads.")]
    same = Tokenizer.from_pretrained(folder).fingerprint() == subject.tokenizer.fingerprint()
    detail = not_for("saved", tensors=len(other), wrong=len(wrong) + len(lost), tokenizer="=" if same else "!=").detail
    return Finding(not wrong and not lost and same, detail)


@torch.no_grad()
def export(subject: Subject) -> Finding:
    """The saved folder opens in transformers, with no key missing and equal logits."""
    if subject.model.preset is None:
        return not_for("own_composition")
    if subject.model.saved_class()[0] != subject.model.preset.architecture:
        return not_for("no_head_class")
    try:
        import transformers
    except ImportError:
        return not_for("no_transformers")
    transformers.utils.logging.disable_progress_bar()
    folder = subject.place / "exported"
    subject.model.save_pretrained(folder, tokenizer=subject.tokenizer)
    kind: Any = getattr(transformers, subject.model.preset.architecture)
    dtype = next(subject.model.parameters()).dtype
    theirs, report = kind.from_pretrained(folder, dtype=dtype, output_loading_info=True, attn_implementation="eager")
    keys = [key for found in report.values() for key in found if key not in subject.model.rest]
    if keys:
        return Finding(False, not_for("keys", keys=", ".join(map(str, keys[:5]))).detail)
    vocabulary = min(subject.tokenizer.vocab_size, subject.model.config.vocab_size)
    ids = torch.randint(vocabulary, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    return measured(difference(_ours(subject, ids), _theirs(theirs.eval(), ids, subject)), max(subject.bound, FLOAT32))


def _ours(subject: Subject, ids: Tensor) -> Tensor:
    model = subject.model.eval()
    if model.config.decoder is None:
        return model.head(model.encode(ids))
    memory = None if model.config.encoder is None else model.encode(ids)
    return model.head(model.decode(ids, memory=memory))


def _theirs(model: Any, ids: Tensor, subject: Subject) -> Tensor:
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if subject.model.config.encoder is not None and subject.model.config.decoder is not None:
        inputs["decoder_input_ids"] = ids
    return model(**inputs, use_cache=False).logits if subject.model.config.decoder else model(**inputs).logits
