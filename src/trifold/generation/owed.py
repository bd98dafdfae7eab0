"""Tokens that a text owes its source: each that the source has is written once, and no other of their kind.

A model that was trained to carry them over nearly always does; this makes it certain. Where it would end a text that still
owes something, the likeliest of what is owed comes in place of the end, with the end's probability: so nothing is forced
into the middle of a text, and no text rambles on because it may not end.

Axes: R rows, O tokens of the kind, V vocabulary.
"""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Owed"]

NEVER = float("-inf")


class Owed:
    """What each row of a batch still owes.

    Args:
        kind: the tokens.
        rows: what each row's prompt or source has, some of these tokens among it.
        ends: tokens that end a text.
        limits: most tokens that each row may write.
        device: where logits are.

    Example:
        >>> owed = Owed([3, 4], [[4, 0]], [2], [9], torch.device("cpu"))
        >>> logits = torch.tensor([[0.0, 1.0, 5.0, 2.0, -1.0]])  # it would end
        >>> owed.settle(logits)
        >>> logits.argmax(-1)
        tensor([4])
    """

    def __init__(
        self,
        kind: Collection[int],
        rows: Sequence[Sequence[int]],
        ends: Collection[int],
        limits: Sequence[int],
        device: torch.device,
    ) -> None:
        ordered = sorted(kind)
        self.kind = torch.tensor(ordered, dtype=torch.int64, device=device)
        self.ends = torch.tensor(sorted(ends), dtype=torch.int64, device=device)
        present = [set(row) for row in rows]
        self.open = torch.tensor([[token in tokens for token in ordered] for tokens in present], device=device)
        self.left = torch.tensor(limits, device=device)
        self.any = bool(self.open.any())

    def settle(self, logits: Float[Tensor, "rows vocab"]) -> None:
        """Leave, in place, only what each row may write next."""
        if not self.any:
            logits.index_fill_(1, self.kind, NEVER)
            return
        values = logits[:, self.kind].masked_fill_(~self.open, NEVER)  # R O
        owing = self.open.any(1)
        if len(self.ends):
            top, best = values.max(1)
            end = logits[:, self.ends].amax(1)
            values.scatter_(1, best[:, None], torch.where(owing & (end > top), end, top)[:, None])
            logits[:, self.ends] = logits[:, self.ends].masked_fill(owing[:, None], NEVER)
        tight = owing & (self.left <= self.open.sum(1))  # there is room for nothing else
        logits.masked_fill_(tight[:, None], NEVER)
        logits[:, self.kind] = values

    def write(self, tokens: Int[Tensor, " rows"]) -> None:
        """Take the token that each row wrote."""
        if self.any:
            self.open = self.open & (tokens[:, None] != self.kind)
            self.left = self.left - 1
            self.any = bool(self.open.any())

    def keep(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep the given rows, in the given order; rows may repeat."""
        if self.any:
            self.open, self.left = self.open[rows], self.left[rows]
