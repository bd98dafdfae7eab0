"""Texts to vectors: the dense retriever, trained by contrast within a batch.

Axes: N pairs in a batch, D width of a vector.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trifold.batch import Batch, Loss
from trifold.data.rows import Row
from trifold.evaluation.metric import Tally, mean
from trifold.example import TrainingExample
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.config import Embedding
from trifold.tasks.frame import Frame
from trifold.tasks.head import labelled_vectors
from trifold.tasks.record import Record, Role, text_of
from trifold.tasks.task import Prediction, run_places
from trifold.text import Tokenizer

__all__ = ["EmbeddingTask"]

ROLES = (
    Role("query", ("query", "question", "sentence1", "anchor", "text")),
    Role("positive", ("positive", "passage", "context", "sentence2", "sentence"), label=True),
)


class EmbeddingTask:
    """A text's vector is the mean over its tokens, of length 1; queries and passages share one model.

    Args:
        config: temperature and lengths.
        tokenizer: the model's.
        model: the model's configuration.
    """

    roles = ROLES
    metrics = ("reciprocal_rank", "recall_at_1", "recall_at_5", "recall_at_20")
    needs_segments = False

    def __init__(self, config: Embedding, tokenizer: Tokenizer, model: Any) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.frame = Frame(tokenizer, model, config.max_length)

    def record(self, row: Row, columns: Mapping[str, str]) -> Record:
        """A query and the passage that belongs to it."""
        texts = [text_of(row, columns[role]) for role in ("query", "positive") if role in columns]
        return Record((texts[0],), texts[1] if len(texts) == 2 else None, row.origin)

    def build_head(self, d_model: int) -> None:
        """None: the vectors of the body are the answer."""
        del d_model

    def _lay(self, texts: Sequence[str], labels: Sequence[int]) -> list[TrainingExample]:
        encoded = self.tokenizer.encode_ids(list(texts), plain=True)
        return [self.frame.whole(self.frame.lay(self.frame.fit([one]))[0], label)
                for one, label in zip(encoded, labels, strict=True)]  # fmt: skip

    def examples(self, records: Sequence[Record]) -> list[tuple[TrainingExample, ...]]:
        """Query 2 k and passage 2 k + 1; passages that are the same text have the same k."""
        first: dict[str, int] = {}
        pairs = [first.setdefault(record.gold, number) for number, record in enumerate(records)]
        queries = self._lay([record.inputs[0] for record in records], [2 * pair for pair in pairs])
        passages = self._lay([record.gold for record in records], [2 * pair + 1 for pair in pairs])
        return list(zip(queries, passages, strict=True))

    def _vectors(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        pooling = "mark" if self.frame.encoder and self.frame.decoder else "mean"
        vectors, labels = labelled_vectors(hidden, batch, pooling)
        return F.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)), dim=-1), labels

    def loss(self, model: Transformer, batch: Batch) -> Loss:
        """Each query must find its passage among all of the batch, each passage its query; per labelled text."""
        vectors, labels = self._vectors(model(batch), batch)
        asked, told = labels % 2 == 0, labels % 2 == 1
        queries, passages = (labels[part] // 2 for part in (asked, told))
        scores = vectors[asked] @ vectors[told].T / self.config.temperature  # N N
        total = _contrast(scores, queries, passages) + _contrast(scores.T, passages, queries)
        return Loss(total, len(labels))

    def predict(self, model: Pretrained, records: Sequence[Record]) -> list[Prediction]:
        """The vector of each query, and of its passage where there is one."""
        queries = self.embed(model, [record.inputs[0] for record in records])
        golds = [record.gold for record in records]
        if any(gold is None for gold in golds):
            return [Prediction(vector) for vector in queries]
        passages = self.embed(model, golds)
        return [Prediction(one, details={"passage": other}) for one, other in zip(queries, passages, strict=True)]

    def embed(self, model: Pretrained, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, one a row."""

        def read(hidden: Tensor, batch: Batch) -> Tensor:
            return self._vectors(hidden, batch)[0].float()

        found = run_places(model, self._lay(texts, [0] * len(texts)), self.frame.pad, read)
        return np.stack([one[0].numpy() for one in found]) if found else np.zeros((0, 0), np.float32)

    def measure(self, records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Tally]:
        """Where each query finds its own passage among all passages of the data."""
        distinct = list(dict.fromkeys(record.gold for record in records))
        at = {text: number for number, text in enumerate(distinct)}
        table = np.zeros((len(distinct), len(predictions[0].answer)), dtype=np.float32)
        for record, one in zip(records, predictions, strict=True):
            table[at[record.gold]] = one.details["passage"]
        ranks = []
        for start in range(0, len(records), 256):
            part = slice(start, start + 256)
            scores = np.stack([one.answer for one in predictions[part]]) @ table.T
            own = scores[np.arange(len(scores)), [at[record.gold] for record in records[part]]]
            ranks += ((scores > own[:, None]).sum(1) + 1).tolist()
        places = np.array(ranks, dtype=np.float64)
        return {"reciprocal_rank": mean((1 / places).tolist()),
                **{f"recall_at_{k}": mean((places <= k).astype(float).tolist()) for k in (1, 5, 20)}}  # fmt: skip


def _contrast(scores: Float[Tensor, "n m"], mine: Tensor, theirs: Tensor) -> Float[Tensor, ""]:
    """Summed negative log-probability of the partners; other texts with the partner's number are no rivals."""
    same = mine[:, None] == theirs[None, :]
    partner = same.float().argmax(1)
    rivals = same.clone()
    rivals[torch.arange(len(mine), device=mine.device), partner] = False
    return F.cross_entropy(scores.masked_fill(rivals, -torch.inf), partner, reduction="sum")
