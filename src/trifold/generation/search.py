"""Beam search: the most probable texts, found by keeping several hypotheses side by side.

Axes: B prompts of the batch, K beams of each, V vocabulary.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trifold.generation.decoding import Decoding, check_finite
from trifold.generation.sampling import repeating
from trifold.native import get_passes, load_passes

__all__ = ["Hypothesis", "normalize", "search"]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way to go on: its tokens, and how probable it is.

    Attributes:
        ids: tokens generated, the end token included where it was reached.
        totals: summed log-probability after each token.
        score: the last total, normalised by length.
        ended: whether the end token was reached.

    Example:
        >>> Hypothesis((5, 2), (-1.0, -1.5), -1.5, ended=True).logprobs
        (-1.0, -0.5)
    """

    ids: tuple[int, ...]
    totals: tuple[float, ...]
    score: float
    ended: bool

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probability of each token."""
        return tuple(now - before for before, now in zip((0.0, *self.totals), self.totals, strict=False))


def normalize(total: float, length: int, alpha: float) -> float:
    """A summed log-probability over `length ** alpha`, as transformers, CTranslate2 and fairseq have it.

    Example:
        >>> normalize(-6.0, 3, 1.0)
        -2.0
    """
    return total / length**alpha


@dataclass(slots=True)
class _Task:
    """The search for one prompt: its live beams, the finished hypotheses, and how far it may go.

    A beam lives as `(ids, totals)`. The search is over when `width` hypotheses have ended and no live beam, at its
    present length, scores above the worst of them (`early`: in any case); when no live beam can end above the worst of
    those that are asked for; or at `limit` tokens, where live beams count as they stand.
    """

    width: int
    limit: int
    alpha: float
    wanted: int
    early: bool
    live: list[tuple[tuple[int, ...], tuple[float, ...]]]
    prompt: Sequence[int] = ()
    finished: list[Hypothesis] = field(default_factory=list)

    def advance(self, candidates: list[tuple[float, int, int]], ends: Collection[int]) -> list[tuple[int, int]]:
        """Take the best continuations `(total, beam, token)`, best first; give `(beam, token)` of those that live on."""
        grown, chosen = [], []
        for rank, (total, beam, token) in enumerate(candidates):
            ids, totals = self.live[beam]
            if token in ends:
                if rank < self.width and total > float("-inf"):
                    self._finish((*ids, token), (*totals, total), ended=True)
            elif len(chosen) < self.width:
                grown.append(((*ids, token), (*totals, total)))
                chosen.append((beam, token))
        self.live = grown
        if len(grown[0][0]) >= self.limit:
            for ids, totals in grown:
                self._finish(ids, totals, ended=False)
        return chosen

    def banned(self, size: int) -> list[set[int]]:
        """For each beam the tokens that would repeat a run of `size`."""
        return [repeating([*self.prompt, *ids], size) for ids, _ in self.live]

    def _finish(self, ids: tuple[int, ...], totals: tuple[float, ...], *, ended: bool) -> None:
        score = normalize(totals[-1], len(ids), self.alpha)
        if score > float("-inf"):
            self.finished.append(Hypothesis(ids, totals, score, ended))
            self.finished.sort(key=lambda one: -one.score)  # stable: of equals the earlier one wins
            del self.finished[self.width :]

    @property
    def done(self) -> bool:
        """Whether nothing better can be expected."""
        ids, totals = self.live[0]
        if len(ids) >= self.limit:
            return True
        if len(self.finished) < self.wanted:
            return False
        longest = normalize(totals[-1], self.limit, self.alpha)  # a total only falls, and counts least at full length
        present = normalize(totals[-1], len(ids), self.alpha)
        full = len(self.finished) == self.width and (self.early or present <= self.finished[-1].score)
        return full or longest < self.finished[self.wanted - 1].score


@torch.inference_mode()
def search(
    decoding: Decoding,
    *,
    beams: int,
    limits: Sequence[int],
    ends: Collection[int],
    alpha: float,
    wanted: int | None = None,
    no_repeat_ngram: int = 0,
    early_stopping: bool = False,
) -> list[list[Hypothesis]]:
    """Search the best continuations of each row.

    Tokens that the decoding suppresses are not written, but count when probabilities are worked out, as in transformers.

    Args:
        decoding: the rows, not yet started.
        beams: how many hypotheses live side by side for each row.
        limits: most tokens to add to each row.
        ends: tokens that end a text.
        alpha: exponent of the length normalisation.
        wanted: how many hypotheses are asked for, which are then the best; None for as many as there are beams.
        no_repeat_ngram: no run of so many tokens occurs twice in a text; 0 for no such rule.
        early_stopping: whether a search is over when `beams` hypotheses have ended.

    Returns:
        For each row at most `beams` hypotheses, best first.
    """
    never, decoding.suppressed = decoding.suppressed, []
    logits = decoding.start()
    device, silent = logits.device, torch.tensor(sorted(never), dtype=torch.int64, device=logits.device)
    logits = logits[decoding.branch(beams)]
    empty = ((), ())
    tasks = [
        _Task(beams, limit, alpha, wanted or beams, early_stopping, [empty] * beams, prompt)
        for limit, prompt in zip(limits, decoding.prompts, strict=True)
    ]
    active = list(tasks)
    totals = torch.full((len(active), beams), float("-inf"), dtype=torch.float64, device=device)
    totals[:, 0] = 0.0  # all beams start equal: one speaks for all
    while True:
        banned = [ids for task in active for ids in task.banned(no_repeat_ngram)] if no_repeat_ngram else []
        candidates = _rank(logits, totals, beams * (1 + len(ends)), banned, silent)
        chosen = [task.advance(options, ends) for task, options in zip(active, candidates, strict=True)]
        kept = [place for place, task in enumerate(active) if not task.done]
        if not kept:
            return [task.finished for task in tasks]
        order = [place * beams + beam for place in kept for beam, _ in chosen[place]]
        whole = len(kept) == len(active)
        decoding.select(torch.tensor(order, device=device), same_source=whole)
        active = [active[place] for place in kept]
        totals = torch.tensor([[beam[1][-1] for beam in task.live] for task in active], dtype=torch.float64).to(device)
        tokens = [token for place in kept for _, token in chosen[place]]
        logits = decoding.step(torch.tensor(tokens, device=device))


def _rank(
    logits: Float[Tensor, "rows vocab"],
    totals: Float[Tensor, "prompts beams"],
    count: int,
    banned: Sequence[set[int]],
    never: Int[Tensor, " silent"],
) -> list[list[tuple[float, int, int]]]:
    """The best `count` continuations of each prompt as `(total, beam, token)`, best first; none that its row bans."""
    least = min(count + len(never) + max(map(len, banned), default=0), logits.shape[-1])
    values, tokens = _best(logits.float(), least)
    if len(never):
        values.masked_fill_(torch.isin(tokens, never), float("-inf"))
    for row, forbidden in enumerate(banned):
        if len(forbidden) >= logits.shape[-1]:
            continue  # nothing else is left
        values[row, [place for place, token in enumerate(tokens[row].tolist()) if token in forbidden]] = float("-inf")
    logprobs, ids = (part.unflatten(0, totals.shape) for part in (values, tokens))  # B K C
    sums = (totals[:, :, None] + logprobs).flatten(1)  # no beam can give more than `count` of the best
    best, places = sums.topk(min(count, sums.shape[1]), dim=-1)
    check_finite(best[:, 0])
    tokens = ids.flatten(1).gather(1, places)
    beams = places // least
    made = zip(best.tolist(), beams.tolist(), tokens.tolist(), strict=True)
    return [list(zip(*row, strict=True)) for row in made]


def _best(
    logits: Float[Tensor, "rows vocab"], count: int
) -> tuple[Float[Tensor, "rows count"], Int[Tensor, "rows count"]]:
    """The largest log-probabilities of each row, and of which tokens they are."""
    if logits.device.type == "cpu" and logits.stride(1) == 1 and load_passes() is not None:
        total, values, ids = get_passes().find_best(logits, count)
        return values - total[:, None], ids
    return logits.log_softmax(-1).topk(count, dim=-1)
