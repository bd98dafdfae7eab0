"""What stands on top of a body for a task: one vector for each labelled text, and a matrix to the labels.

Axes: B batch, S sequence, D d_model, N labelled texts, C labels.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trifold.batch import IGNORED, Batch, Layout
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.presets.task_class import Kind
from trifold.presets.task_head import Pooling, TaskHead

__all__ = [
    "HeadWanted",
    "document_keys",
    "document_means",
    "labelled_runs",
    "labelled_vectors",
    "main_layout",
    "read_labelled",
    "segment_log_softmax",
    "task_head",
]


@dataclass(frozen=True, slots=True)
class HeadWanted:
    """The head that a task asks for.

    Attributes:
        kind: the task, as Hugging Face's classes part them.
        labels: names of the outputs; without any there is no head, and the vectors of the body are the answer.
        problem: how logits become an answer (`Outputs.problem`).
        pooling: which vectors are read; `auto`: as the family's class does.
        apart: settings that no class can express, by name.
        each: whether it reads each token by itself, instead of a text as a whole.

    Example:
        >>> HeadWanted("tagging", ("O", "B"), each=True).pooling
        'auto'
    """

    kind: Kind | Literal["embedding"]
    labels: tuple[str, ...] = ()
    problem: str = "single_label_classification"
    pooling: Literal["auto", "mean", "first", "last"] = "auto"
    apart: tuple[str, ...] = ()
    each: bool = False


def task_head(model: Transformer) -> TaskHead:
    """The head that a task put on a model."""
    assert isinstance(model, Pretrained), "only such a model has heads"
    head = model.heads["task"]
    assert isinstance(head, TaskHead), "the only kind there is"
    return head


def read_labelled(
    model: Transformer, hidden: Float[Tensor, "batch seq d_model"], batch: Batch
) -> tuple[Float[Tensor, "texts labels"], Int[Tensor, " texts"]]:
    """What a model's head says at each labelled place or of the text it is in, and the labels, in the order of places.

    To that is added what a linear model of the same text says, or, in training, what one said that had not seen it.
    """
    head = task_head(model)
    vectors, labels = labelled_vectors(hidden, batch, head.shape.pooling)
    logits = head(vectors)
    if "beside" in batch.extras:
        return logits + batch.extras["beside"].to(logits), labels
    assert isinstance(model, Pretrained), "it has a head"
    if "ngrams" in model.heads:
        logits = logits + labelled_runs(model.heads["ngrams"], batch).to(logits.dtype)
    return logits, labels


def main_layout(batch: Batch) -> Layout:
    """The layout of the tokens that labels belong to: the decoder's, or the encoder's where there is no decoder."""
    layout = batch.target_layout or batch.source_layout
    assert layout is not None, "a batch has tokens"
    return layout


def labelled_vectors(
    hidden: Float[Tensor, "batch seq d_model"], batch: Batch, pooling: Pooling
) -> tuple[Float[Tensor, "texts d_model"], Int[Tensor, " texts"]]:
    """A vector for each labelled place, and the labels, in the order of the places.

    `each` takes the vector at the place itself; the others that of the whole document that the place is in.
    """
    assert batch.labels is not None, "labels mark the places"
    rows, places = (batch.labels != IGNORED).nonzero(as_tuple=True)
    labels = batch.labels[rows, places]
    match pooling:
        case "each":
            return hidden[rows, places], labels
        case "mean":
            means, key = document_means(hidden, main_layout(batch))
            return means[key[rows, places]], labels
        case "first":
            starts = places - main_layout(batch).positions.expand(batch.labels.shape)[rows, places]
            return hidden[rows, starts], labels
        case "last":
            key = document_keys(main_layout(batch), *batch.labels.shape)
            here = torch.arange(key.shape[1], device=key.device).expand_as(key).flatten()
            ends = key.new_zeros(int(key.max()) + 1).scatter_reduce(0, key.flatten(), here, "amax")
            return hidden[rows, ends[key[rows, places]]], labels


def labelled_runs(bag: nn.Module, batch: Batch) -> Float[Tensor, "texts labels"]:
    """What the runs of tokens in each labelled text say, in the order of the places."""
    sides = ((batch.source, batch.source_layout), (batch.target, batch.target_layout))
    tokens, layout = next((tokens, layout) for tokens, layout in sides if tokens is not None)
    assert layout is not None and batch.labels is not None, "labels mark the places"  # noqa: PT018
    keys = document_keys(main_layout(batch), *batch.labels.shape, like=layout)
    logits: Tensor = bag(tokens, layout)
    return logits[keys[batch.labels != IGNORED]]


def document_means(
    hidden: Float[Tensor, "batch seq d_model"], layout: Layout
) -> tuple[Float[Tensor, "documents d_model"], Int[Tensor, "batch seq"]]:
    """The mean vector of each document in a batch, summed in float32 at least, and each token's row among them."""
    batch, length, width = hidden.shape
    exact = torch.float32 if hidden.dtype == torch.bfloat16 else hidden.dtype
    key = document_keys(layout, batch, length)
    count = int(key.max()) + 1
    sums = hidden.new_zeros(count, width, dtype=exact).index_add_(0, key.flatten(), hidden.flatten(0, 1).to(exact))
    sizes = torch.bincount(key.flatten(), minlength=count).clamp(min=1)
    return sums / sizes[:, None], key


def document_keys(layout: Layout, batch: int, length: int, *, like: Layout | None = None) -> Int[Tensor, "batch seq"]:
    """A number for each document of a batch, at each of its tokens; padding counts as a document of its row.

    `like` is the layout whose numbering is wanted, where a batch has two sides: document k reads document k.
    """
    like = like or layout
    rows = torch.arange(batch, device=layout.positions.device)[:, None]
    if like.documents is None:
        return rows.expand(batch, length)
    own = torch.ones_like(rows) if layout.documents is None else layout.documents  # without numbers all are the first
    return (rows * (int(like.documents.max()) + 1) + own).expand(batch, length)


def segment_log_softmax(
    logits: Float[Tensor, "tokens outputs"], keys: Int[Tensor, " tokens"]
) -> Float[Tensor, "tokens outputs"]:
    """Log-softmax over the tokens that have the same key, for each output.

    Example:
        >>> segment_log_softmax(torch.zeros(4, 1), torch.tensor([0, 0, 1, 1])).exp().flatten()
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    count = int(keys.max()) + 1
    index = keys[:, None].expand_as(logits)
    highest = logits.new_full((count, logits.shape[1]), -torch.inf)
    highest = highest.scatter_reduce(0, index, logits.detach(), "amax")
    shifted = logits - highest[keys]
    total = logits.new_zeros(count, logits.shape[1]).scatter_add(0, index, shifted.exp())
    return shifted - total.clamp(min=torch.finfo(total.dtype).tiny).log()[keys]
