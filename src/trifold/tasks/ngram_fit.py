"""Fitting a linear model of runs of tokens, before the deep model beside it is trained.

What it says of a text that it was fitted on is surer than what it says of others, so the deep model is trained beside what
was said of each training text by a linear model that had not seen it (Wolpert 1992, stacked generalization).
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trifold.evaluation.calibration import fit_temperature
from trifold.example import TrainingExample
from trifold.tasks.ngrams import NGramBag, RunCounts, most_rows, side_by_side

__all__ = ["Criterion", "fit_ngrams"]

HASHES = 2**31
MOST_TOKENS, SEARCHED, TOGETHER = 8_000_000, 20_000, 1000
"""Tokens that are fitted at most, texts that settings are chosen on, and texts that are read together."""
FOLDS, ITERATIONS = 5, 25
"""Parts that are left out in turn, and steps of L-BFGS."""
STRENGTHS, SHARES = (0.5, 1.5, 5.0, 15.0, 45.0), (0.5, 1.0)

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Summed loss of logits [texts, labels] at what is wanted of the texts."""


def fit_ngrams(
    bag: NGramBag,
    examples: Sequence[TrainingExample],
    wanted: Tensor,
    criterion: Criterion,
    *,
    groups: Sequence[int],
    strengths: Sequence[float] = STRENGTHS,
    shares: Sequence[float] = SHARES,
) -> tuple[NGramBag, Float[Tensor, "texts labels"]]:
    """Fit a linear model of runs to examples. How strongly, and what long runs count, is chosen on a part left out.

    Args:
        bag: says how many labels there are, and how long the runs.
        examples: one for each text, as they are laid before the model.
        wanted: of each text, as the criterion reads it: the number of its label, or a row with a number for each output.
        criterion: of the logits.
        groups: a number for each text; texts with the same number are left out together.
        strengths: to choose from, rising: of the loss beside half of the squared weights (`C` of logistic regression).
        shares: to choose from: what a run of several tokens counts beside a single token.

    Returns:
        The linear model, of as many rows as the runs of the examples ask for, and for each text the logits of one that was
        fitted without it.
    """
    texts = [torch.from_numpy(example.target if example.source is None else example.source) for example in examples]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    sizes = torch.tensor([len(text) for text in texts])[order].cumsum(0)
    fitted, others = order.tensor_split([max(int((sizes <= MOST_TOKENS).sum()), 1)])
    fit = _Fit([texts[number] for number in fitted.tolist()], wanted[fitted], criterion, len(bag.bias))
    folds = _folds(torch.tensor(groups)[fitted])
    bag = _measured_bag(fit.tokens, fit.owners, len(bag.bias), bag.longest)
    runs = RunCounts.of(fit.tokens, fit.owners, bag.longest, len(bag.table))
    rarity, strength = _chosen(bag.rarity.detach(), runs, fit, folds, strengths=strengths, shares=shares)
    bag.rarity.data.copy_(rarity)
    counts, said = runs.weighed(rarity), torch.zeros(len(texts), len(bag.bias))
    table, bias = fit.optimum(counts, strength)
    with torch.no_grad():
        bag.table.copy_(table)
        bag.bias.copy_(bias)
        for numbers in others.split(TOGETHER) if len(others) else ():
            said[numbers] = bag.of_texts([texts[number] for number in numbers.tolist()])
    for fold in folds.unique():
        table, bias = fit.optimum(counts, strength, folds != fold)
        said[fitted[folds == fold]] = counts.among(folds == fold).product(table) + bias
    if wanted.dim() == 1:  # labels: probabilities as they should be, or the deep model learns to scale them
        temperature = fit_temperature(said.double().numpy(), wanted.numpy())
        said /= temperature
        with torch.no_grad():
            bag.table.div_(temperature)
            bag.bias.div_(temperature)
    return bag.requires_grad_(False), said


def _folds(groups: Tensor) -> Tensor:
    """The part of each text; texts of one group are in the same."""
    different, number = groups.unique(return_inverse=True)
    return torch.randperm(len(different), generator=torch.Generator().manual_seed(0))[number] % FOLDS


def _measured_bag(tokens: Tensor, owners: Tensor, num_labels: int, longest: int) -> NGramBag:
    """A linear model with as many rows as the runs of texts ask for, and how rare these are."""
    runs = RunCounts.of(tokens, owners, longest, HASHES).runs
    rows = min(1 << (4 * len(runs.unique())).bit_length(), most_rows(num_labels))
    bag = NGramBag(num_labels, longest, rows)
    spread = torch.bincount(runs.remainder(rows), minlength=rows)
    with torch.no_grad():
        bag.rarity.copy_(((2 + owners[0, -1]) / (1 + spread)).log().clamp(min=0) + 1)
    return bag


def _chosen(
    rarity: Tensor, runs: RunCounts, fit: "_Fit", folds: Tensor, *, strengths: Sequence[float], shares: Sequence[float]
) -> tuple[Tensor, float]:
    """The rarity of runs, of which long ones count a share, and the strength with the least loss on the first part."""
    few = torch.arange(len(folds)) < SEARCHED
    known, asked = few & (folds != 0), few & (folds == 0)
    best, chosen = math.inf, (rarity, strengths[-1])
    if not known.any() or not asked.any():
        return chosen
    single = RunCounts.of(fit.tokens, fit.owners, 1, len(rarity)).runs
    for share in shares:
        lighter = rarity * torch.full_like(rarity, share).index_fill(0, single, 1.0)
        counts, start = runs.weighed(lighter), None
        for strength in strengths:
            table, bias = start = fit.optimum(counts, strength, known, start)
            loss = fit.loss(counts.among(asked).product(table) + bias, asked)
            if loss < best:
                best, chosen = loss, (lighter, strength)
    return chosen


class _Fit:
    """Texts, what is wanted of them, and what is fitted to some of them."""

    def __init__(self, texts: Sequence[Tensor], wanted: Tensor, criterion: Criterion, num_labels: int) -> None:
        self.wanted, self.criterion, self.num_labels = wanted, criterion, num_labels
        self.tokens, self.owners = side_by_side(texts)

    def loss(self, logits: Tensor, chosen: Tensor) -> float:
        """Of texts, a mean; logits of labels are divided by the temperature that suits them."""
        wanted = self.wanted[chosen]
        if wanted.dim() == 1:
            logits = logits / fit_temperature(logits.double().numpy(), wanted.numpy())
        return float(self.criterion(logits, wanted)) / len(wanted)

    def optimum(
        self,
        counts: RunCounts,
        strength: float,
        chosen: Tensor | None = None,
        start: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The table and the bias with the least loss on some texts, by L-BFGS (Liu and Nocedal 1989).

        Each row is solved for in units of one over the root of its curvature, without which rows of frequent and of rare
        runs would need steps of very different size.
        """
        wanted = self.wanted
        if chosen is not None:
            counts, wanted = counts.among(chosen), wanted[chosen]
        curvature = _curvature(self.criterion, wanted, self.num_labels)
        scale = torch.zeros(counts.size[1], 1).index_add(0, counts.runs, counts.weights.square()[:, None])
        scale, bias_scale = (1 / strength + curvature * scale).rsqrt(), (curvature * len(wanted)) ** -0.5
        table, bias = start or (torch.zeros(counts.size[1], self.num_labels), torch.zeros(self.num_labels))
        units = [(table / scale).requires_grad_(), (bias / bias_scale).requires_grad_()]
        turned, mean = counts.turned(), 1 / len(wanted)

        def measured() -> Tensor:
            with torch.no_grad():
                table, bias = units[0] * scale, units[1] * bias_scale
                logits = counts.product(table) + bias
            logits.requires_grad_()
            loss = self.criterion(logits, wanted)
            (slope,) = torch.autograd.grad(loss, logits)
            with torch.no_grad():
                units[0].grad = (turned.product(slope) + table / strength) * scale * mean
                units[1].grad = slope.sum(0) * bias_scale * mean
                return (loss + table.square().sum() / (2 * strength)) * mean

        solver = torch.optim.LBFGS(
            units, max_iter=ITERATIONS, history_size=6, tolerance_change=1e-6, line_search_fn="strong_wolfe"
        )
        solver.step(measured)  # pyright: ignore[reportArgumentType] - it is told gradients, not a loss to go back from
        return (units[0] * scale).detach(), (units[1] * bias_scale).detach()


def _curvature(criterion: Criterion, wanted: Tensor, num_labels: int) -> float:
    """The mean second derivative of a text's loss by one of its logits, where all are zero (Hutchinson 1989)."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (len(wanted), num_labels), generator=generator) * 2.0 - 1
    logits = torch.zeros(len(wanted), num_labels, requires_grad=True)
    (slope,) = torch.autograd.grad(criterion(logits, wanted), logits, create_graph=True)
    (product,) = torch.autograd.grad(slope, logits, signs)
    return max(float((signs * product).mean()), 1e-3)
