"""Choosing the next token from logits: pure functions, and the state that a batch of requests carries.

Axes: B batch, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trifold.generation.config import Sampling

__all__ = ["Sampler", "draw", "keep_min_p", "keep_top_k", "keep_top_p", "penalize", "repeating", "warm"]

FIRST_LOOK = 1024
"""How many of the most probable tokens top-p looks at before it sorts the whole vocabulary, which is ten times slower."""


def penalize(
    logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"], penalty: float
) -> Float[Tensor, "batch vocab"]:
    """Make seen tokens less likely: positive logits divided by `penalty`, negative ones multiplied (Keskar 2019).

    Example:
        >>> penalize(torch.tensor([[2.0, -1.0, 3.0]]), torch.tensor([[True, True, False]]), 2.0)
        tensor([[ 1., -2.,  3.]])
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def repeating(ids: Sequence[int], size: int) -> set[int]:
    """The tokens that would complete a run of `size` tokens which occurs in `ids` already.

    Example:
        >>> repeating([1, 2, 3, 1, 2], 3), repeating([1, 2, 3], 0)
        ({3}, set())
    """
    if not 0 < size <= len(ids):
        return set()
    last = tuple(ids[len(ids) - size + 1 :])
    starts = range(len(ids) - size + 1)
    return {ids[start + size - 1] for start in starts if tuple(ids[start : start + size - 1]) == last}


def warm(logits: Float[Tensor, "batch vocab"], temperature: float) -> Float[Tensor, "batch vocab"]:
    """Logits divided by the temperature, the largest at 0, so that no temperature overflows.

    Example:
        >>> warm(torch.tensor([[3.0, 1.0]]), 0.5)
        tensor([[ 0., -4.]])
    """
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits: Float[Tensor, "batch vocab"], k: int) -> Float[Tensor, "batch vocab"]:
    """All but the `k` largest logits become minus infinity.

    Example:
        >>> keep_top_k(torch.tensor([[1.0, 3.0, 2.0]]), 2)
        tensor([[-inf, 3., 2.]])
    """
    values, ids = logits.topk(min(k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, float("-inf")).scatter_(1, ids, values)


def keep_top_p(logits: Float[Tensor, "batch vocab"], p: float) -> Float[Tensor, "batch vocab"]:
    """Keep the fewest most probable tokens whose probability together reaches `p`, at least one (Holtzman 2020).

    Example:
        >>> keep_top_p(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.7).isfinite()
        tensor([[ True,  True, False]])
    """
    probability = logits.softmax(-1)
    width = min(FIRST_LOOK, logits.shape[-1])
    values, ids = probability.topk(width, dim=-1)
    if width < logits.shape[-1] and bool((values.sum(-1) < p).any()):
        values, ids = probability.sort(dim=-1, descending=True)
    before = values.cumsum(-1) - values
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, ids, before < p)
    return logits.masked_fill(~kept, float("-inf"))


def keep_min_p(logits: Float[Tensor, "batch vocab"], share: float) -> Float[Tensor, "batch vocab"]:
    """Keep tokens at least `share` times as probable as the most probable one.

    Example:
        >>> keep_min_p(torch.tensor([[0.6, 0.3, 0.1]]).log(), 0.4).isfinite()
        tensor([[ True,  True, False]])
    """
    if share == 0.0:
        return logits
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + float(np.log(share)), float("-inf"))


def draw(logits: Float[Tensor, "batch vocab"], uniform: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The tokens at which the summed probability passes `uniform` (one number in [0, 1) for each row).

    A token of probability 0 is never drawn.

    Example:
        >>> draw(torch.tensor([[0.25, 0.0, 0.75]]).log().expand(2, 3), torch.tensor([0.2, 0.3]))
        tensor([0, 2])
    """
    mass = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    total = mass[:, -1:].contiguous()
    chosen = torch.searchsorted(mass, uniform[:, None].to(mass) * total, right=True)
    complete = torch.searchsorted(mass, total)  # the first place that holds all: rounding must not lead beyond it
    return torch.minimum(chosen, complete)[:, 0].clamp(max=logits.shape[-1] - 1)  # beyond the end: not a number


class Sampler:
    """Chooses the next token of each row of a batch; a row's random numbers depend on its own seed alone.

    Args:
        sampling: how to choose.
        prompts: token ids of each row so far, for the rules against repetition.
        seeds: the seed of each row.
        vocab_size: number of logits.

    Example:
        >>> sampler = Sampler(Sampling(temperature=0.0), [[0]], [1], vocab_size=3)
        >>> ids, logprobs = sampler.choose(torch.tensor([[0.0, 2.0, 1.0]]))
        >>> ids.tolist()
        [1]
    """

    def __init__(
        self, sampling: Sampling, prompts: Sequence[Sequence[int]], seeds: Sequence[int], *, vocab_size: int
    ) -> None:
        self.sampling = sampling
        self.streams = [np.random.default_rng(seed) for seed in seeds]
        self.past = [list(ids) for ids in prompts] if sampling.no_repeat_ngram else []
        self.seen: Tensor | None = None
        if sampling.repetition_penalty != 1.0:
            self.seen = torch.zeros(len(prompts), vocab_size, dtype=torch.bool)
            for row, ids in enumerate(prompts):
                self.seen[row, list(ids)] = True

    def choose(self, logits: Float[Tensor, "batch vocab"]) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The next token of each row, and its log-probability under the model itself (before any filter)."""
        logits = logits.float()
        ids = self._pick(logits)
        if self.seen is not None:
            self.seen[torch.arange(len(ids)), ids.to(self.seen.device)] = True
        for row, token in zip(self.past, ids.tolist() if self.past else (), strict=True):
            row.append(token)
        return ids, logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(-1)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the given rows, in the given order."""
        self.streams = [self.streams[row] for row in rows]
        self.past = [self.past[row] for row in rows] if self.past else []
        if self.seen is not None:
            self.seen = self.seen[list(rows)]

    def _pick(self, logits: Tensor) -> Tensor:
        options = self.sampling
        if self.seen is not None:
            self.seen = self.seen.to(logits.device)
            logits = penalize(logits, self.seen, options.repetition_penalty)
        if self.past:
            logits = self._without_repeating(logits)
        if options.temperature == 0.0:
            return logits.argmax(-1)
        uniform = torch.tensor([stream.random() for stream in self.streams], dtype=torch.float64)
        return draw(self._filter(logits), uniform.to(logits.device))

    def _without_repeating(self, logits: Tensor) -> Tensor:
        """What would repeat a run cannot be chosen; a row in which nothing else is left stays as it is."""
        kept = logits.clone()
        for row, ids in enumerate(self.past):
            banned = repeating(ids, self.sampling.no_repeat_ngram)
            if len(banned) < logits.shape[-1]:
                kept[row, list(banned)] = float("-inf")
        return kept

    def _filter(self, logits: Tensor) -> Tensor:
        options = self.sampling
        logits = warm(logits, options.temperature)
        if options.top_k:
            logits = keep_top_k(logits, options.top_k)
        if options.top_p < 1.0:
            logits = keep_top_p(logits, options.top_p)
        return keep_min_p(logits, options.min_p)
