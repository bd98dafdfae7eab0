"""What stands on top of a body for a task: one vector for each labelled text, and a matrix to the labels.

Axes: B batch, S sequence, D d_model, N labelled texts, C labels.
"""

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from trifold.batch import IGNORED, Batch, Layout
from trifold.model import Transformer
from trifold.presets.pretrained import Transformer as Pretrained
from trifold.tasks.frame import SEGMENTS

__all__ = [
    "NGramBag",
    "TaskHead",
    "document_keys",
    "document_means",
    "equip",
    "labelled_runs",
    "labelled_vectors",
    "main_layout",
    "task_head",
]

if TYPE_CHECKING:
    from trifold.tasks.task import Task

Pooling = Literal["mean", "mark"]
BUCKETS, MIXER, WEIGHT = 2**17, 0x9E3779B1, 30.0


class TaskHead(nn.Module):
    """`output(dropout(tanh(dense(x))))`, in float32 from the last product on.

    Args:
        d_model: width of the body.
        num_labels: width of the output.
        dropout: before the output.
        dense: whether there is a hidden layer.
        ngrams: tokens in the longest run that is also looked at by itself; 0 for none.

    Example:
        >>> TaskHead(8, 3)(torch.ones(2, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self, d_model: int, num_labels: int, *, dropout: float = 0.1, dense: bool = True, ngrams: int = 0
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(d_model, d_model) if dense else None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(d_model, num_labels)
        self.ngrams = NGramBag(num_labels, ngrams) if ngrams else None
        for part in (self.dense, self.output):
            if part is not None:
                nn.init.normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)

    def forward(self, x: Float[Tensor, "*places d_model"]) -> Float[Tensor, "*places labels"]:
        """Vectors to the logits of the labels."""
        x = x.to(self.output.weight.dtype)
        x = x if self.dense is None else torch.tanh(self.dense(x))
        logits = F.linear(self.dropout(x), self.output.weight, self.output.bias)
        return logits.float() if logits.dtype == torch.bfloat16 else logits


class NGramBag(nn.Module):
    """Logits from which tokens and short runs of them a document has, in any order: a linear model beside a deep one.

    Runs share `BUCKETS` rows by a hash (Joulin et al. 2017, section 2.1; Cheng et al. 2016, "wide and deep"). What a rare
    run says counts for more than one step's worth, so that a word seen twice is learned as a linear classifier learns it.

    Args:
        num_labels: width of the output.
        longest: tokens in the longest run.

    Example:
        >>> NGramBag(3, 2)(torch.tensor([[5, 6, 7]]), Layout.whole(1, 3)).shape
        torch.Size([1, 3])
    """

    def __init__(self, num_labels: int, longest: int) -> None:
        super().__init__()
        self.longest, self.table = longest, nn.Embedding(BUCKETS, num_labels)
        nn.init.zeros_(self.table.weight)

    def forward(self, tokens: Int[Tensor, "batch seq"], layout: Layout) -> Float[Tensor, "documents labels"]:
        """Logits of each document, by its number in `document_keys`."""
        keys = document_keys(layout, *tokens.shape)
        width = tokens.shape[1]
        runs, owners = [], []
        mixed = torch.zeros_like(tokens)
        for n in range(1, min(self.longest, width) + 1):
            mixed = mixed[:, : width - n + 1] * MIXER + tokens[:, n - 1 :] + n
            whole = keys[:, : width - n + 1] == keys[:, n - 1 :]  # documents are contiguous
            runs.append(mixed[whole].remainder(BUCKETS))
            owners.append(keys[:, : width - n + 1][whole])
        owner = torch.cat(owners)
        count = int(keys.max()) + 1
        sums = self.table.weight.new_zeros(count, self.table.embedding_dim)
        sums = sums.index_add(0, owner, self.table(torch.cat(runs)))
        return WEIGHT * sums / torch.bincount(owner, minlength=count).clamp(min=1).sqrt()[:, None]


def equip(model: Pretrained, task: "Task") -> None:
    """Put on a model what a task needs on top of it: its head, and segments where its family has none."""
    model.take_off()
    head = task.build_head(model.config.d_model)
    if head is not None:
        model.heads["task"] = head
    if task.needs_segments and model.embedding.segments is None:
        model.embedding.segments = nn.Embedding(SEGMENTS, model.config.d_model)
        nn.init.zeros_(model.embedding.segments.weight)  # at first it changes nothing


def task_head(model: Transformer) -> nn.Module:
    """The head that a task put on a model."""
    assert isinstance(model, Pretrained), "only such a model has heads"
    return model.heads["task"]


def main_layout(batch: Batch) -> Layout:
    """The layout of the tokens that labels belong to: the decoder's, or the encoder's where there is no decoder."""
    layout = batch.target_layout or batch.source_layout
    assert layout is not None, "a batch has tokens"
    return layout


def labelled_vectors(
    hidden: Float[Tensor, "batch seq d_model"], batch: Batch, pooling: Pooling
) -> tuple[Float[Tensor, "texts d_model"], Int[Tensor, " texts"]]:
    """A vector for each labelled place, and the labels, in the order of the places.

    `mark` takes the vector at the place itself, `mean` that of the whole document that the place is in.
    """
    assert batch.labels is not None, "labels mark the places"
    rows, places = (batch.labels != IGNORED).nonzero(as_tuple=True)
    labels = batch.labels[rows, places]
    if pooling == "mark":
        return hidden[rows, places], labels
    means, key = document_means(hidden, main_layout(batch))
    return means[key[rows, places]], labels


def labelled_runs(bag: NGramBag, batch: Batch) -> Float[Tensor, "texts labels"]:
    """What the runs of tokens in each labelled text say, in the order of the places."""
    sides = ((batch.source, batch.source_layout), (batch.target, batch.target_layout))
    tokens, layout = next((tokens, layout) for tokens, layout in sides if tokens is not None)
    assert layout is not None and batch.labels is not None, "labels mark the places"  # noqa: PT018
    keys = document_keys(main_layout(batch), *batch.labels.shape, like=layout)
    return bag(tokens, layout)[keys[batch.labels != IGNORED]]


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
