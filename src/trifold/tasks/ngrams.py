"""A linear model of the runs of tokens that a text has, beside the deep one, which learns what the linear one leaves over.

The runs are weighed as words are in TF-IDF, and the linear model is fitted before training begins
(Joachims 1998; a linear and a deep model together: Cheng et al. 2016, "wide and deep"). What it says of a text that it was
fitted on is surer than what it says of others, so the deep model is trained beside what was said of each training text by
a linear model that had not seen it (Wolpert 1992, stacked generalization).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from trifold.batch import Layout
from trifold.evaluation.calibration import fit_temperature
from trifold.example import TrainingExample
from trifold.presets.pretrained import Transformer
from trifold.tasks.head import document_keys

__all__ = ["Criterion", "NGramBag", "fit_ngrams", "most_rows"]

MIXER, HASHES = 0x9E3779B1, 2**31
MOST_WEIGHTS, FEWEST_BITS = 2**23, 10
"""Numbers of a table at most (32 MiB); of however many labels, it may have rows that are numbered by so many bits."""
MOST_TOKENS, FOLDS, ITERATIONS, TOGETHER = 8_000_000, 5, 60, 1000
"""Tokens that are fitted at most, parts that are left out in turn, steps of L-BFGS, and texts that are read together."""

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Summed loss of logits [texts, labels] at what is wanted of the texts."""


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

    def counts(self, tokens: Int[Tensor, "batch seq"], keys: Int[Tensor, "batch seq"]) -> "_Counts":
        """The runs of documents, weighed; `keys` has the number of each token's document."""
        return _Counts.of(tokens, keys, self.longest, len(self.table)).weighed(self.rarity.detach())


class _Counts:
    """How often each document has each run: three numbers for each pair that occurs, ordered by document, then run."""

    def __init__(self, documents: Tensor, runs: Tensor, weights: Tensor, size: tuple[int, int]) -> None:
        self.documents, self.runs, self.weights, self.size = documents, runs, weights, size

    @classmethod
    def of(cls, tokens: Tensor, keys: Tensor, longest: int, rows: int) -> "_Counts":
        """From tokens [batch, seq] and the number of the document at each, which are contiguous."""
        width = tokens.shape[1]
        mixed, places = torch.zeros_like(tokens), []
        for n in range(1, min(longest, width) + 1):
            mixed = mixed[:, : width - n + 1] * MIXER + tokens[:, n - 1 :] + n
            whole = keys[:, : width - n + 1] == keys[:, n - 1 :]
            places.append(keys[:, : width - n + 1][whole] * rows + mixed[whole].remainder(rows))
        pairs, counts = torch.cat(places).unique(return_counts=True)
        return cls(pairs // rows, pairs.remainder(rows), counts, (int(keys.max()) + 1, rows))

    def weighed(self, rarity: Tensor) -> "_Counts":
        """With weights in place of counts."""
        weights = (1 + self.weights.to(rarity.dtype).log()) * rarity[self.runs]
        squares = weights.new_zeros(self.size[0]).index_add(0, self.documents, weights.square())
        weights = weights * squares.clamp(min=1e-12).rsqrt()[self.documents]
        return _Counts(self.documents, self.runs, weights, self.size)

    def among(self, chosen: Tensor) -> "_Counts":
        """Those of some documents, which are numbered anew; `chosen` marks them."""
        kept, number = chosen[self.documents], chosen.cumsum(0) - 1
        size = (int(chosen.sum()), self.size[1])
        return _Counts(number[self.documents[kept]], self.runs[kept], self.weights[kept], size)

    def turned(self) -> "_Counts":
        """Runs in the place of documents, and documents in that of runs."""
        order = self.runs.argsort(stable=True)
        size = (self.size[1], self.size[0])
        return _Counts(self.runs[order], self.documents[order], self.weights[order], size)

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


def fit_ngrams(
    bag: NGramBag, examples: Sequence[TrainingExample], wanted: Tensor, criterion: Criterion, *, strength: float
) -> tuple[NGramBag, Float[Tensor, "texts labels"]]:
    """Fit a linear model of runs to examples.

    Args:
        bag: says how many labels there are, and how long the runs.
        examples: one for each text, as they are laid before the model.
        wanted: of each text, as the criterion reads it: the number of its label, or a row with a number for each output.
        criterion: of the logits.
        strength: weight of the loss beside half of the squared weights (`C` of logistic regression).

    Returns:
        The linear model, of as many rows as the runs of the examples ask for, and for each text the logits of one that was
        fitted without it.
    """
    num_labels = len(bag.bias)
    texts = [torch.from_numpy(one.target if one.source is None else one.source) for one in examples]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([len(text) for text in texts])[order].cumsum(0)
    count = max(int((sizes <= MOST_TOKENS).sum()), 1)
    chosen, others = order[:count].tolist(), order[count:].tolist()
    tokens, owners = _side_by_side([texts[number] for number in chosen])
    bag = _measured_bag(tokens, owners, num_labels, bag.longest)
    weighed = bag.counts(tokens, owners)
    known, folds = wanted[chosen], torch.arange(count) % FOLDS
    solve = partial(_optimum, num_labels=num_labels, criterion=criterion, strength=strength)
    with torch.no_grad():
        for weights, best in zip((bag.table, bag.bias), solve(weighed, known), strict=True):
            weights.copy_(best)
        said = torch.zeros(len(texts), num_labels)
        for start in range(0, len(others), TOGETHER):
            numbers = others[start : start + TOGETHER]
            said[numbers] = (
                bag.counts(*_side_by_side([texts[number] for number in numbers])).product(bag.table) + bag.bias
            )
    for fold in range(min(FOLDS, count)):
        rest = folds != fold
        table, bias = solve(weighed.among(rest), known[rest])
        said[order[:count][~rest]] = weighed.among(~rest).product(table) + bias
    if wanted.dim() == 1:  # labels: probabilities as they should be, or the deep model learns to scale them
        temperature = fit_temperature(said.double().numpy(), wanted.numpy())
        said /= temperature
        with torch.no_grad():
            bag.table.div_(temperature)
            bag.bias.div_(temperature)
    return bag.requires_grad_(False), said


def _side_by_side(texts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Texts as one row of tokens, and the number of the text at each."""
    sizes = torch.tensor([len(text) for text in texts])
    return torch.cat(list(texts))[None], torch.repeat_interleave(torch.arange(len(texts)), sizes)[None]


def _measured_bag(tokens: Tensor, owners: Tensor, num_labels: int, longest: int) -> NGramBag:
    """A linear model with as many rows as the runs of texts ask for, and how rare these are."""
    runs = _Counts.of(tokens, owners, longest, HASHES).runs
    rows = min(1 << (4 * len(runs.unique())).bit_length(), most_rows(num_labels))
    bag = NGramBag(num_labels, longest, rows)
    spread = torch.bincount(runs.remainder(rows), minlength=rows)
    with torch.no_grad():
        bag.rarity.copy_(((2 + owners[0, -1]) / (1 + spread)).log().clamp(min=0) + 1)
    return bag


def _optimum(
    counts: _Counts, wanted: Tensor, num_labels: int, criterion: Criterion, strength: float
) -> tuple[Tensor, Tensor]:
    """The table and the bias that a criterion is least for, by L-BFGS (Liu and Nocedal 1989)."""
    turned = counts.turned()
    table = torch.zeros(counts.size[1], num_labels, requires_grad=True)
    bias = torch.zeros(num_labels, requires_grad=True)
    solver = torch.optim.LBFGS(
        [table, bias], max_iter=ITERATIONS, history_size=6, tolerance_change=1e-6, line_search_fn="strong_wolfe"
    )

    def measured() -> Tensor:
        with torch.no_grad():
            logits = counts.product(table) + bias
        logits.requires_grad_()
        loss = criterion(logits, wanted)
        (slope,) = torch.autograd.grad(loss, logits)
        scale = 1 / len(wanted)
        with torch.no_grad():
            table.grad = (turned.product(slope) + table / strength) * scale
            bias.grad = slope.sum(0) * scale
            return (loss + table.square().sum() / (2 * strength)) * scale

    solver.step(measured)  # pyright: ignore[reportArgumentType] - it is told gradients, not a loss to go back from
    return table.detach(), bias.detach()
