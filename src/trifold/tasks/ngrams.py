"""A linear model of the runs of tokens that a text has, weighed as words are in TF-IDF (Joachims 1998).

It stands beside a deep model, which learns what it leaves over (Cheng et al. 2016, "wide and deep").
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from trifold.batch import Layout
from trifold.presets.pretrained import Transformer
from trifold.tasks.head import document_keys

__all__ = ["NGramBag", "RunCounts", "most_rows", "side_by_side"]

MIXER = 0x9E3779B1
MOST_WEIGHTS, FEWEST_BITS = 2**23, 10
"""Numbers of a table at most (32 MiB); of however many labels, it may have rows that are numbered by so many bits."""


class NGramBag(nn.Module):
    """Logits from which tokens and short runs of them a document has, in any order.

    A run counts `(1 + log count) * rarity`; the weights of a document have length 1. Runs share rows by a hash (Weinberger
    et al. 2009).

    Args:
        num_labels: width of the output.
        longest: tokens in the longest run.
        rows: of the table, a power of two.

    Example:
        >>> NGramBag(3, 2)(torch.tensor([[5, 6, 7]]), Layout.whole(1, 3)).shape
        torch.Size([1, 3])
    """

    def __init__(self, num_labels: int, longest: int, rows: int = 2**FEWEST_BITS) -> None:
        super().__init__()
        self.longest = longest
        self.table = nn.Parameter(torch.zeros(rows, num_labels))
        self.rarity, self.bias = nn.Parameter(torch.zeros(rows)), nn.Parameter(torch.zeros(num_labels))

    @classmethod
    def of(cls, model: Transformer) -> "NGramBag":
        """The linear model that a task put beside a model."""
        bag = model.heads["ngrams"]
        assert isinstance(bag, NGramBag), "so it is called"
        return bag

    def forward(self, tokens: Int[Tensor, "batch seq"], layout: Layout) -> Float[Tensor, "documents labels"]:
        """Logits of each document, by its number in `document_keys`."""
        return self.bias + self.counts(tokens, document_keys(layout, *tokens.shape)).product(self.table)

    def of_texts(self, texts: Sequence[Tensor]) -> Float[Tensor, "texts labels"]:
        """Logits of texts, each the tokens of one."""
        return self.bias + self.counts(*side_by_side(texts)).product(self.table)

    def counts(self, tokens: Int[Tensor, "batch seq"], keys: Int[Tensor, "batch seq"]) -> "RunCounts":
        """The runs of documents, weighed; `keys` has the number of each token's document."""
        return RunCounts.of(tokens, keys, self.longest, len(self.table)).weighed(self.rarity.detach())


class RunCounts:
    """How often each document has each run: three numbers for each pair that occurs, ordered by document, then run."""

    def __init__(self, documents: Tensor, runs: Tensor, weights: Tensor, size: tuple[int, int]) -> None:
        self.documents, self.runs, self.weights, self.size = documents, runs, weights, size

    @classmethod
    def of(cls, tokens: Tensor, keys: Tensor, longest: int, rows: int) -> "RunCounts":
        """From tokens [batch, seq] and the number of the document at each, which are contiguous."""
        width = tokens.shape[1]
        mixed, places = torch.zeros_like(tokens), []
        for n in range(1, min(longest, width) + 1):
            mixed = mixed[:, : width - n + 1] * MIXER + tokens[:, n - 1 :] + n
            whole = keys[:, : width - n + 1] == keys[:, n - 1 :]
            places.append(keys[:, : width - n + 1][whole] * rows + mixed[whole].remainder(rows))
        pairs, counts = torch.cat(places).unique(return_counts=True)
        return cls(pairs // rows, pairs.remainder(rows), counts, (int(keys.max()) + 1, rows))

    def weighed(self, rarity: Tensor) -> "RunCounts":
        """With weights in place of counts."""
        weights = (1 + self.weights.to(rarity.dtype).log()) * rarity[self.runs]
        squares = weights.new_zeros(self.size[0]).index_add(0, self.documents, weights.square())
        weights = weights * squares.clamp(min=1e-12).rsqrt()[self.documents]
        return RunCounts(self.documents, self.runs, weights, self.size)

    def among(self, chosen: Tensor) -> "RunCounts":
        """Those of some documents, which are numbered anew; `chosen` marks them."""
        kept, number = chosen[self.documents], chosen.cumsum(0) - 1
        size = (int(chosen.sum()), self.size[1])
        return RunCounts(number[self.documents[kept]], self.runs[kept], self.weights[kept], size)

    def turned(self) -> "RunCounts":
        """Runs in the place of documents, and documents in that of runs."""
        order = self.runs.argsort(stable=True)
        size = (self.size[1], self.size[0])
        return RunCounts(self.runs[order], self.documents[order], self.weights[order], size)

    def product(self, table: Tensor) -> Tensor:
        """The weighed sum of the table's rows for each document."""
        starts = torch.searchsorted(self.documents, torch.arange(self.size[0], device=self.documents.device))
        return F.embedding_bag(self.runs, table, starts, mode="sum", per_sample_weights=self.weights.to(table.dtype))


def most_rows(num_labels: int) -> int:
    """Rows that a table for so many labels has at most.

    Example:
        >>> most_rows(3), most_rows(100_000)
        (2097152, 1024)
    """
    return 1 << max((MOST_WEIGHTS // (num_labels + 1)).bit_length() - 1, FEWEST_BITS)


def side_by_side(texts: Sequence[Tensor]) -> tuple[Int[Tensor, "1 tokens"], Int[Tensor, "1 tokens"]]:
    """Texts as one row of tokens, and the number of the text at each.

    Example:
        >>> side_by_side([torch.tensor([7, 8]), torch.tensor([9])])
        (tensor([[7, 8, 9]]), tensor([[0, 0, 1]]))
    """
    sizes = torch.tensor([len(text) for text in texts])
    return torch.cat(list(texts))[None], torch.repeat_interleave(torch.arange(len(texts)), sizes)[None]
